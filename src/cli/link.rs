//! One connection to one broker: frames, versions, one request at a time.

use super::exchange::Exchange;
use super::failure::{Failure, Outcome};
use bytes::Bytes;
use net::wire::api::{ApiKey, TABLE};
use net::wire::{Reader, RequestHeader, Str, Writer, api_versions};
use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A response longer than this is not one, in bytes.
const RESPONSE_BYTES_MAX: usize = 256 << 20;
/// UNSUPPORTED_VERSION, which ApiVersions answers in version 0 (KIP-511).
const UNSUPPORTED_VERSION: i16 = 35;

pub(crate) struct Link {
    address: String,
    stream: TcpStream,
    timeout: Duration,
    /// By API key: the range that both sides speak.
    versions: BTreeMap<i16, (i16, i16)>,
    correlation_id: i32,
}

impl Link {
    /// Connects to `address` (host and port) and asks what the broker speaks.
    pub(crate) fn open(address: &str, timeout: Duration) -> Outcome<Self> {
        let stream = connect(address, timeout).map_err(|error| unreachable(address, &error))?;
        let mut link = Self {
            address: address.to_owned(),
            stream,
            timeout,
            versions: BTreeMap::new(),
            correlation_id: 0,
        };
        let request = api_versions::Request {
            client_software_name: Str::from("ringlog"),
            client_software_version: Str::from(env!("CARGO_PKG_VERSION")),
        };
        let mut response = link.exchange(&request, 3, Duration::ZERO)?;
        if response.error_code == UNSUPPORTED_VERSION {
            response = link.exchange(&request, 0, Duration::ZERO)?;
        }
        super::refusal::check(address, response.error_code, None)?;
        for theirs in response.api_keys {
            if let Some(own) = TABLE.iter().find(|own| own.key.to_wire() == theirs.api_key) {
                let both = (
                    own.min.max(theirs.min_version),
                    own.max.min(theirs.max_version),
                );
                link.versions.insert(theirs.api_key, both);
            }
        }
        Ok(link)
    }

    /// A call that the broker may hold on to for up to `wait`.
    pub(crate) fn call_waiting<R: Exchange>(
        &mut self,
        request: &R,
        wait: Duration,
    ) -> Outcome<R::Response> {
        let version = self.version::<R>()?;
        self.exchange(request, version, wait)
    }

    /// The version that a request will be sent in.
    fn version<R: Exchange>(&self) -> Outcome<i16> {
        let range = self.versions.get(&R::KEY.to_wire());
        let range = range.map(|(min, max)| (*min, R::VERSION_MAX.min(*max)));
        match range.filter(|(min, max)| min <= max) {
            Some((_, max)) => Ok(max),
            None => Err(Failure::new(format!(
                "the broker at {} does not know {} in any version known here",
                self.address,
                R::KEY.info().name
            ))),
        }
    }

    fn exchange<R: Exchange>(
        &mut self,
        request: &R,
        version: i16,
        wait: Duration,
    ) -> Outcome<R::Response> {
        self.correlation_id = self.correlation_id.wrapping_add(1) & i32::MAX;
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(Str::from("ringlog")),
        };
        let mut writer = Writer::new();
        header.encode(&mut writer);
        request.encode(&mut writer, version);
        let (stream, timeout) = (&mut self.stream, self.timeout.saturating_add(wait));
        let received = stream
            .set_read_timeout(Some(timeout))
            .and_then(|()| send(stream, &writer.into_parts()))
            .and_then(|()| receive(stream));
        let frame = received.map_err(|error| broken(&self.address, R::KEY, &error))?;
        let body = body(&frame, R::KEY, version, self.correlation_id);
        let body = body.ok_or_else(|| self.not_understood(R::KEY, "the header is wrong"))?;
        let mut version = version;
        if R::KEY == ApiKey::ApiVersions && body.starts_with(&UNSUPPORTED_VERSION.to_be_bytes()) {
            version = 0;
        }
        R::decode(&mut Reader::new(body), version)
            .map_err(|error| self.not_understood(R::KEY, &error.to_string()))
    }

    fn not_understood(&self, key: ApiKey, why: &str) -> Failure {
        let (name, address) = (key.info().name, &self.address);
        Failure::new(format!(
            "the answer to {name} from {address} makes no sense: {why}"
        ))
        .advise("is a Kafka broker listening there, and without TLS?")
    }
}

fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn send(stream: &mut TcpStream, parts: &[Bytes]) -> io::Result<()> {
    let bytes: usize = parts.iter().map(Bytes::len).sum();
    let length = i32::try_from(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the request is too large"))?;
    let length = length.to_be_bytes();
    let mut slices: Vec<IoSlice<'_>> = vec![IoSlice::new(&length)];
    slices.extend(parts.iter().map(|part| IoSlice::new(part)));
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match stream.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn receive(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok();
    let length = length
        .filter(|length| *length <= RESPONSE_BYTES_MAX)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "that is not a response of a Kafka broker",
            )
        })?;
    let mut frame = Vec::new();
    stream.take(length as u64).read_to_end(&mut frame)?;
    if frame.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame.into())
}

/// What follows the response header, if that is right (KIP-482; ApiVersions has no tags).
fn body(frame: &Bytes, key: ApiKey, version: i16, correlation_id: i32) -> Option<Bytes> {
    let (id, _) = frame.split_first_chunk::<4>()?;
    if i32::from_be_bytes(*id) != correlation_id {
        return None;
    }
    let mut at = 4;
    if key != ApiKey::ApiVersions && version >= key.info().flexible_from {
        for _ in 0..uvarint(frame, &mut at)? {
            uvarint(frame, &mut at)?;
            let length = uvarint(frame, &mut at)?;
            at = at
                .checked_add(length as usize)
                .filter(|at| *at <= frame.len())?;
        }
    }
    Some(frame.slice(at..))
}

fn uvarint(frame: &[u8], at: &mut usize) -> Option<u32> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let byte = *frame.get(*at)?;
        *at += 1;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn unreachable(address: &str, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there: start a broker with `ringlog serve`, or name another with \
             --bootstrap HOST:PORT"
        }
        io::ErrorKind::TimedOut => {
            "the host does not answer: check the address, the network and firewalls, or wait \
             longer with --timeout SECONDS"
        }
        _ => "check the address given with --bootstrap HOST:PORT",
    };
    Failure::new(format!("cannot reach a broker at {address}: {error}")).advise(advice)
}

fn broken(address: &str, key: ApiKey, error: &io::Error) -> Failure {
    let name = key.info().name;
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::new(format!(
            "the broker at {address} did not answer {name} in time"
        ))
        .advise("is it overloaded or still starting? wait longer with --timeout SECONDS"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Failure::new(format!(
            "the broker at {address} closed the connection during {name}"
        ))
        .advise("its log says why"),
        _ => Failure::new(format!(
            "the connection to {address} broke during {name}: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_skipped_with_its_tags() {
        let plain = Bytes::from_static(&[0, 0, 0, 9, 1, 2]);
        let told = body(&plain, ApiKey::Metadata, 8, 9);
        assert_eq!(told.as_deref(), Some(&[1, 2][..]));
        assert_eq!(body(&plain, ApiKey::Metadata, 8, 8), None);
        let tagged = Bytes::from_static(&[0, 0, 0, 9, 1, 5, 2, 7, 7, 3]);
        assert_eq!(
            body(&tagged, ApiKey::Metadata, 9, 9).as_deref(),
            Some(&[3][..])
        );
        let cut = Bytes::from_static(&[0, 0, 0, 9, 1, 5, 200, 1, 7]);
        assert_eq!(body(&cut, ApiKey::Metadata, 9, 9), None);
    }
}
