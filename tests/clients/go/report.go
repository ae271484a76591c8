package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

const patience = 120 * time.Second // only what hangs meets it

// report runs checks and prints a line for each: its name, a tab, and the verdict.
type report struct {
	only   string
	failed bool
}

func (r *report) check(name string, body func()) {
	if !strings.HasPrefix(name, r.only) {
		return
	}
	fmt.Fprintf(os.Stderr, "--- %s\n", name) // where its part of the log begins
	verdict := "ok"
	func() {
		defer func() {
			if problem := recover(); problem != nil {
				r.failed = true
				debug.PrintStack()
				verdict = "FAILED: " + strings.Join(strings.Fields(fmt.Sprint(problem)), " ")
			}
		}()
		body()
	}()
	fmt.Printf("%s\t%s\n", name, verdict)
}

func fail(format string, arguments ...any) {
	panic(fmt.Sprintf(format, arguments...))
}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func same(expected, got any, what string) {
	if e, g := fmt.Sprint(expected), fmt.Sprint(got); e != g {
		fail("%s: expected %.300s, got %.300s", what, e, g)
	}
}

func until(what string, holds func() bool) {
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			fail("waited in vain for %s", what)
		}
	}
}

func (r *report) end() {
	if r.failed {
		os.Exit(1)
	}
}
