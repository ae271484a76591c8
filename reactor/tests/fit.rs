//! What a start finds out about the machine: whether rings may be made, and how much it may use.
//!
//! Filters and affinity belong to a thread, so that each test takes one of its own.

use libc::{c_ulong, sock_filter, sock_fprog};
use reactor::cores::available_cores;
use reactor::probe::{self, Unfit};
use std::thread;

/// Lets io_uring_setup fail with `errno` in the calling thread, as a container's profile does.
fn forbid_rings(errno: i32) {
    let instruction = |code: u32, jt, jf, k| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let number = libc::SYS_io_uring_setup as u32;
    let mut filter = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    let none: c_ulong = 0;
    let one: c_ulong = 1;
    // SAFETY: the filter outlives the calls, the kernel copies it, and only this thread is bound.
    let done = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, none, none, none),
            libc::prctl(
                libc::PR_SET_SECCOMP,
                c_ulong::from(libc::SECCOMP_MODE_FILTER),
                &raw const program,
                none,
                none,
            ),
        ]
    };
    assert_eq!(done, [0, 0], "{}", std::io::Error::last_os_error());
}

fn found_where_rings_fail_with(errno: i32) -> Result<(), Unfit> {
    let thread = thread::spawn(move || {
        forbid_rings(errno);
        probe::check()
    });
    thread.join().expect("it ends")
}

#[test]
fn a_seccomp_filter_is_told_with_its_cure() {
    assert_eq!(probe::check(), Ok(()));
    assert_eq!(
        found_where_rings_fail_with(libc::EPERM),
        Err(Unfit::Forbidden)
    );
    assert_eq!(
        found_where_rings_fail_with(libc::ENOSYS),
        Err(Unfit::NotThere)
    );
}

#[test]
fn there_is_a_core_for_each_that_the_affinity_mask_allows() {
    let all = available_cores();
    let last = *all.last().expect("one at least");
    let thread = thread::spawn(move || {
        // SAFETY: a local set, an index below its size, and the calling thread only.
        let done = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(last, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
        };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        available_cores()
    });
    assert_eq!(thread.join().expect("it ends"), [last]);
}

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_allowed() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointers are to a local value.
    let done = unsafe {
        let got = libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max.min(512);
        [got, libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)]
    };
    assert_eq!(done, [0, 0], "{}", std::io::Error::last_os_error());
    assert_eq!(probe::raise_open_files(), limit.rlim_max);
}
