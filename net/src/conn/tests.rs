//! Properties of the machine under random fragmentation, pipelining and answering order.

use super::frames::PIECE_BYTES_MIN;
use super::*;
use crate::wire::{Str, Writer, metadata, produce};
use std::collections::VecDeque;

const START: Mono = Mono(0);

/// Small numbers that look random and repeat from run to run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

fn limits() -> ConnLimits {
    ConnLimits {
        frame_bytes_max: 10_000,
        in_bytes_max: 4_000,
        out_bytes_max: 4_000,
        requests_max: 5,
        send_bytes_max: 1_500,
        idle_ms_max: 1_000,
    }
}

/// What `connections.max.idle.ms=-1` becomes.
#[test]
fn without_a_limit_a_connection_is_never_idle() {
    let limits = ConnLimits {
        idle_ms_max: u64::MAX,
        ..limits()
    };
    let conn = Conn::new(limits, Mono(5));
    assert_eq!(conn.idle_deadline(), Some(Mono(u64::MAX)));
}

/// A whole request as it lies on the wire, its body `filler` bytes long.
fn request(key: ApiKey, version: i16, correlation_id: i32, filler: usize) -> Vec<u8> {
    let mut w = Writer::new();
    let header = RequestHeader {
        api_key: key,
        api_version: version,
        correlation_id,
        client_id: Some(Str::from("tests")),
    };
    header.encode(&mut w);
    let mut frame = w.into_bytes().to_vec();
    frame.extend((0..filler).map(|index| (index as i32 ^ correlation_id) as u8));
    let mut bytes = (frame.len() as i32).to_be_bytes().to_vec();
    bytes.append(&mut frame);
    bytes
}

/// The replies in a stream: correlation id and the rest.
fn split_replies(mut stream: &[u8]) -> Vec<(i32, Vec<u8>)> {
    let mut replies = Vec::new();
    while let Some((prefix, rest)) = stream.split_first_chunk::<4>() {
        let (frame, rest) = rest.split_at(u32::from_be_bytes(*prefix) as usize);
        let (id, body) = frame.split_first_chunk::<4>().expect("a correlation id");
        replies.push((i32::from_be_bytes(*id), body.to_vec()));
        stream = rest;
    }
    replies
}

fn queued_bytes(conn: &Conn) -> usize {
    conn.in_bytes() + conn.out_bytes()
}

/// A connection, its peer and its handlers, all driven by one seed.
struct Session {
    dice: Dice,
    conn: Conn,
    stream: VecDeque<u8>,
    /// What the peer sent: key, correlation id, bytes of the body.
    requests: VecDeque<(ApiKey, i32, usize)>,
    open: Vec<Frame>,
    /// By correlation id, what the peer must read; `None` for no reply.
    expected: Vec<Option<Vec<u8>>>,
    received: Vec<u8>,
    sending: bool,
    /// How often several requests were unanswered at once.
    overlapped: usize,
}

impl Session {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let (mut stream, mut requests) = (VecDeque::new(), VecDeque::new());
        for id in 0..40 {
            let (key, version) = match dice.below(4) {
                0 => (ApiKey::Metadata, 9),
                _ => (ApiKey::Produce, 7),
            };
            let filler = [0, 3, 700, 3_900][dice.below(4)];
            stream.extend(request(key, version, id, filler));
            requests.push_back((key, id, filler));
        }
        Self {
            dice,
            conn: Conn::new(limits(), START),
            stream,
            requests,
            open: Vec::new(),
            expected: Vec::new(),
            received: Vec::new(),
            sending: false,
            overlapped: 0,
        }
    }

    fn receive(&mut self) {
        if self.conn.wants_pause() || self.stream.is_empty() {
            return;
        }
        let count = [1, 2, 5, 100, 1_024, 5_000][self.dice.below(6)];
        let piece: Bytes = self.stream.drain(..count.min(self.stream.len())).collect();
        self.conn.on_received(piece, START);
    }

    fn take(&mut self) {
        while let Some(frame) = self.conn.next_request().expect("a sound stream") {
            let (key, id, filler) = self.requests.pop_front().expect("a request that was sent");
            assert_eq!(
                (key, id),
                (frame.header.api_key, frame.header.correlation_id)
            );
            let pattern = (0..filler).map(|index| (index as i32 ^ id) as u8);
            assert!(
                frame.body.iter().copied().eq(pattern),
                "body of request {id}"
            );
            self.open.push(frame);
            let keys = || self.open.iter().map(|frame| frame.header.api_key);
            assert!(self.open.len() == 1 || keys().all(|key| key == ApiKey::Produce));
            self.expected.push(None);
        }
        self.overlapped += usize::from(self.open.len() > 1);
        assert!(self.open.len() <= limits().requests_max);
        assert!(queued_bytes(&self.conn) <= 2 * 4_000 + 5_000 + 5 * 3_000);
    }

    fn answer(&mut self) {
        if self.open.is_empty() || self.dice.below(3) > 0 {
            return;
        }
        let frame = self.open.swap_remove(self.dice.below(self.open.len()));
        let RequestHeader {
            api_key,
            api_version,
            correlation_id: id,
            ..
        } = frame.header;
        if api_key == ApiKey::Produce && self.dice.below(5) == 0 {
            return self.conn.no_reply(frame.seq);
        }
        let body: Vec<Bytes> = (0..self.dice.below(3))
            .map(|part| vec![id as u8; 1 + part * 1_200].into())
            .collect();
        let tags = if api_version == 9 { &[0_u8][..] } else { &[] };
        self.expected[id as usize] = Some([tags, &body.concat()].concat());
        self.conn.reply(frame.seq, body);
    }

    fn send(&mut self) {
        if self.sending && self.dice.below(2) == 0 {
            self.conn.on_sent(START);
            self.sending = false;
        }
        if let Some(parts) = self.conn.take_send(START) {
            assert!(!self.sending, "two sends at once");
            assert!(parts.iter().map(Bytes::len).sum::<usize>() <= limits().send_bytes_max);
            self.received.extend(parts.concat());
            self.sending = true;
        }
    }

    fn run(mut self) -> usize {
        while !(self.requests.is_empty() && self.open.is_empty() && queued_bytes(&self.conn) == 0) {
            self.receive();
            self.take();
            self.answer();
            self.send();
        }
        let expected: Vec<_> = (0..)
            .zip(self.expected)
            .filter_map(|(id, body)| body.map(|body| (id, body)))
            .collect();
        assert_eq!(split_replies(&self.received), expected);
        self.overlapped
    }
}

#[test]
fn any_fragmentation_and_answering_order_gives_the_same_stream() {
    let overlapped: usize = (1..300).map(|seed| Session::new(seed).run()).sum();
    assert!(
        overlapped > 1_000,
        "pipelining was hardly met: {overlapped}"
    );
}

#[test]
fn only_a_produce_overtakes_and_only_produces() {
    let order = |first, second| {
        let mut conn = Conn::new(limits(), START);
        for (id, (key, version)) in [first, second].into_iter().enumerate() {
            conn.on_received(request(key, version, id as i32, 0).into(), START);
        }
        assert!(conn.next_request().expect("sound").is_some());
        conn.next_request().expect("sound").is_some()
    };
    let (produce, fetch) = ((ApiKey::Produce, 9), (ApiKey::Fetch, 12));
    assert!(order(produce, produce));
    assert!(!order(produce, fetch));
    assert!(!order(fetch, produce));
    assert!(!order(fetch, fetch));
}

#[test]
fn a_frame_in_one_piece_is_not_copied() {
    let mut conn = Conn::new(limits(), START);
    let mut stream = request(ApiKey::Produce, 9, 1, 2_000);
    stream.extend(request(ApiKey::Produce, 9, 2, 2_000));
    let piece = Bytes::from(stream);
    let range = piece.as_ptr_range();
    conn.on_received(piece.clone(), START);
    for _ in 0..2 {
        let frame = conn.next_request().expect("sound").expect("a frame");
        assert!(range.contains(&frame.body.as_ptr()));
    }
}

/// A body of any length and cut, byte by byte or in large pieces; a large Produce is handed out in
/// them, all else in one piece.
#[test]
fn a_frame_in_pieces_is_the_same_frame() {
    let mut dice = Dice(9);
    let limits = ConnLimits {
        frame_bytes_max: 200_000,
        in_bytes_max: 1 << 20,
        requests_max: 50,
        ..limits()
    };
    let mut apart = 0;
    for round in 0..400 {
        let filler = [10, 15_000, 16_384, 70_000, 180_000][dice.below(5)];
        let (key, version) = [(ApiKey::Produce, 9), (ApiKey::Metadata, 9)][dice.below(2)];
        let mut stream: Bytes = request(key, version, round, filler).into();
        let mut conn = Conn::new(limits, START);
        let piece_max = [1_000, 3_000, 20_000, 130_000][dice.below(4)];
        let mut held = Vec::new();
        while !stream.is_empty() {
            assert!(conn.next_request().expect("sound").is_none());
            let piece = stream.split_to(stream.len().min(1 + dice.below(piece_max)));
            held.push(piece.as_ptr_range());
            conn.on_received(piece, START);
        }
        let frame = conn.next_request().expect("sound").expect("a frame");
        let pattern = (0..filler).map(|index| (index as i32 ^ round) as u8);
        let body = std::iter::once(&frame.body).chain(&frame.more);
        assert!(body.clone().flatten().copied().eq(pattern));
        assert_eq!(conn.replies.waiting_bytes(), filler + 16);
        if frame.more.is_empty() {
            continue;
        }
        apart += 1;
        assert!(key == ApiKey::Produce && filler >= 15_000);
        for part in body.filter(|part| part.len() >= 4 * PIECE_BYTES_MIN) {
            let shared = |range: &std::ops::Range<*const u8>| range.contains(&part.as_ptr());
            assert!(piece_max <= 3_000 || held.iter().any(shared), "a copy");
        }
    }
    assert!(apart > 50, "only {apart} frames in pieces");
}

#[test]
fn illegal_lengths_end_the_stream_after_the_replies_before_them() {
    for (length, legal) in [
        (-1, false),
        (i32::MIN, false),
        (10_001, false),
        (10_000, true),
    ] {
        let mut conn = Conn::new(limits(), START);
        conn.on_received(request(ApiKey::Produce, 9, 1, 0).into(), START);
        let frame = conn.next_request().expect("sound").expect("a frame");
        let mut next = length.to_be_bytes().to_vec();
        next.extend([0, 0, 0, 9, 0, 0, 0, 1]);
        conn.on_received(next.into(), START);
        assert!(
            conn.next_request()
                .expect("the reply comes first")
                .is_none()
        );
        assert_eq!(conn.wants_pause(), !legal);
        conn.reply(frame.seq, Vec::new());
        assert!(
            conn.next_request()
                .expect("the reply has not left")
                .is_none()
        );
        assert!(conn.take_send(START).is_some());
        conn.on_sent(START);
        match conn.next_request() {
            Ok(None) => assert!(legal),
            other => assert_eq!(other.err(), Some(ConnError::FrameLength(length))),
        }
    }
}

#[test]
fn unknown_apis_and_versions_close() {
    let mut unknown = request(ApiKey::Produce, 9, 1, 0);
    unknown[5] = 17;
    let error = |bytes: Vec<u8>| {
        let mut conn = Conn::new(limits(), START);
        conn.on_received(bytes.into(), START);
        conn.next_request().map(|frame| frame.is_some())
    };
    let why = DecodeError::UnknownApi(17);
    assert_eq!(error(unknown), Err(ConnError::Header(why)));
    let why = DecodeError::UnsupportedVersion { key: 0, version: 2 };
    assert_eq!(
        error(request(ApiKey::Produce, 2, 1, 0)),
        Err(ConnError::Header(why))
    );
    // KIP-511: answered with an error in version 0 by the handler.
    assert_eq!(error(request(ApiKey::ApiVersions, 99, 1, 40)), Ok(true));
}

#[test]
fn a_peer_that_reads_nothing_is_paused() {
    let mut conn = Conn::new(limits(), START);
    let (mut taken, mut accepted) = (0, 0);
    for id in 0..10_000 {
        if conn.wants_pause() {
            break;
        }
        conn.on_received(request(ApiKey::Metadata, 9, id, 50).into(), START);
        accepted += 1;
        while let Some(frame) = conn.next_request().expect("sound") {
            conn.reply(frame.seq, vec![vec![0; 1_500].into()]);
            taken += 1;
        }
        if id == 0 {
            assert!(conn.take_send(START).is_some());
        }
    }
    assert_eq!(taken, 3);
    assert!(accepted < 100 && queued_bytes(&conn) < 2 * limits().in_bytes_max);
}

#[test]
fn one_request_larger_than_the_bound_still_comes_in() {
    let mut conn = Conn::new(limits(), START);
    let bytes = request(ApiKey::Metadata, 9, 1, 9_000);
    for byte in bytes {
        assert!(!conn.wants_pause());
        conn.on_received(Bytes::copy_from_slice(&[byte]), START);
    }
    assert!(conn.next_request().expect("sound").is_some());
}

#[test]
fn idle_means_that_nobody_waits_for_us() {
    let (mut conn, at) = (Conn::new(limits(), START), |ms| START.after_ms(ms));
    assert_eq!(conn.idle_deadline(), Some(at(1_000)));
    conn.on_received(request(ApiKey::Metadata, 9, 1, 0).into(), at(10));
    let frame = conn.next_request().expect("sound").expect("a frame");
    assert_eq!(conn.idle_deadline(), None, "a parked request");
    conn.reply(frame.seq, Vec::new());
    assert_eq!(
        conn.idle_deadline(),
        None,
        "a reply that we have not sent yet"
    );
    assert!(conn.take_send(at(5_000)).is_some());
    assert_eq!(
        conn.idle_deadline(),
        Some(at(6_000)),
        "a peer that does not read"
    );
    conn.on_sent(at(5_500));
    assert_eq!(conn.idle_deadline(), Some(at(6_500)));
}

#[test]
fn replies_carry_the_header_of_their_version() {
    let mut conn = Conn::new(limits(), START);
    let mut ids = 0..;
    let mut reply = |key, version, body: Vec<Bytes>| {
        let id = ids.next().unwrap_or_default();
        conn.on_received(request(key, version, id, 0).into(), START);
        let frame = conn.next_request().expect("sound").expect("a frame");
        conn.reply(frame.seq, body);
        conn.reply(frame.seq, vec![Bytes::from_static(b"twice")]);
        let sent = conn.take_send(START).expect("a reply").concat();
        conn.on_sent(START);
        sent[8..].to_vec()
    };
    let mut w = Writer::new();
    metadata::Response::default().encode(&mut w, 0);
    assert_eq!(reply(ApiKey::Metadata, 0, w.into_parts()), [0; 8]);
    assert_eq!(
        reply(ApiKey::Metadata, 9, Vec::new()),
        [0],
        "no tagged fields"
    );
    assert_eq!(
        reply(ApiKey::ApiVersions, 4, Vec::new()),
        [0; 0],
        "never flexible"
    );
    let mut w = Writer::new();
    produce::Response::default().encode(&mut w, 3);
    assert_eq!(reply(ApiKey::Produce, 3, w.into_parts()), [0; 8]);
}

#[test]
fn garbage_is_an_error_or_waits_for_more() {
    let mut refused = 0;
    for seed in 1..4_000 {
        let mut dice = Dice(seed);
        let mut stream = request(ApiKey::Metadata, 9, 1, 20);
        for _ in 0..1 + dice.below(4) {
            let at = dice.below(stream.len());
            stream[at] = [0, 1, 0x7f, 0xff, dice.below(256) as u8][dice.below(5)];
        }
        let mut conn = Conn::new(limits(), START);
        while !stream.is_empty() {
            let rest = stream.split_off(dice.below(stream.len()) + 1);
            conn.on_received(std::mem::replace(&mut stream, rest).into(), START);
            match conn.next_request() {
                Ok(Some(frame)) => conn.no_reply(frame.seq),
                Ok(None) => {}
                Err(_) => {
                    assert!(conn.wants_pause() && conn.next_request().is_err());
                    refused += 1;
                    break;
                }
            }
        }
    }
    assert!(refused > 1_000, "only {refused} streams refused");
}
