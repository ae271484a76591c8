//! The file `meta`: what kind of directory this is, and what must be found with it.

use super::cursor::Cursor;
use super::{VERSION, open_block, seal_block};
use reactor::buf::BLOCK;

const META_MAGIC: u32 = u32::from_le_bytes(*b"RLDR");

/// Log directories of one broker, at most: their ids fit into the block.
pub(crate) const LOG_DIRS_MAX: usize = 400;

/// What a log directory says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) dir_id: u64,
    /// The journals of the shards below this number are here.
    pub(crate) shards: u16,
    /// The ids of all directories that the broker used together.
    pub(crate) together: Vec<u64>,
}

impl Meta {
    /// Of a directory that nothing was written to.
    pub(crate) const fn new(dir_id: u64) -> Self {
        Self {
            dir_id,
            shards: 0,
            together: Vec::new(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK);
        out.extend_from_slice(&META_MAGIC.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.dir_id.to_le_bytes());
        out.extend_from_slice(&self.shards.to_le_bytes());
        out.extend_from_slice(&(self.together.len() as u16).to_le_bytes());
        for id in &self.together {
            out.extend_from_slice(&id.to_le_bytes());
        }
        seal_block(out)
    }

    /// Whether the block was written whole, by whatever version.
    pub(crate) fn is_whole(block: &[u8]) -> bool {
        open_block(block).is_some()
    }

    /// # Errors
    /// In words for a person, when the file is damaged or of another version.
    pub(crate) fn decode(block: &[u8]) -> Result<Self, String> {
        let damaged = || "is damaged: restore it from a backup or another node".to_owned();
        let mut cursor = Cursor(open_block(block).ok_or_else(damaged)?);
        if cursor.u32() != Some(META_MAGIC) {
            return Err(damaged());
        }
        match cursor.u16() {
            Some(VERSION) => Self::fields(cursor).ok_or_else(damaged),
            Some(other) => Err(format!(
                "has format version {other}, this program knows version {VERSION}: \
                 start the release that wrote it"
            )),
            None => Err(damaged()),
        }
    }

    fn fields(mut cursor: Cursor<'_>) -> Option<Self> {
        let dir_id = cursor.u64()?;
        let shards = cursor.u16()?;
        let count = usize::from(cursor.u16()?);
        if count > LOG_DIRS_MAX {
            return None;
        }
        let together = (0..count).map(|_| cursor.u64()).collect::<Option<_>>()?;
        Some(Self {
            dir_id,
            shards,
            together,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for count in [0, 1, LOG_DIRS_MAX as u64] {
            let known = Meta {
                dir_id: 9,
                shards: 3,
                together: (0..count).collect(),
            };
            let block = known.encode();
            assert_eq!(block.len(), BLOCK);
            assert_eq!(Meta::decode(&block), Ok(known));
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut meta = Meta::new(9).encode();
        meta[4] = 2;
        assert!(Meta::decode(&meta).unwrap_err().contains("damaged"));
        meta.truncate(BLOCK - 4);
        let newer = seal_block(meta);
        assert!(Meta::decode(&newer).unwrap_err().contains("version 2"));
    }
}
