//! `Content-Encoding: gzip`, block by block, so that a small body cannot become a large memory.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

/// Input given to the decoder at once, so that its output (at most 1032 times as much) stays bounded.
const INPUT_STEP: usize = 512;

/// A block is handed on once it has so many bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// Inflates one body.
pub(crate) struct Inflate {
    decoder: MultiGzDecoder<Vec<u8>>,
}

/// The body is no gzip.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadGzip(pub(crate) String);

impl Inflate {
    pub(crate) fn new() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()) }
    }

    /// Consumes some of `input` and gives the next block, if one is ready. Call again until
    /// `input` is empty.
    pub(crate) fn push(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, BadGzip> {
        while !input.is_empty() {
            let step = &input[..input.len().min(INPUT_STEP)];
            let used = self.decoder.write(step).map_err(bad)?;
            if used == 0 {
                return Err(BadGzip("the gzip stream does not go on".to_owned()));
            }
            *input = input.slice(used..);
            if self.decoder.get_ref().len() >= BLOCK_BYTES {
                return Ok(Some(self.take()));
            }
        }
        Ok(None)
    }

    /// Ends the body and gives the rest.
    pub(crate) fn finish(&mut self) -> Result<Bytes, BadGzip> {
        self.decoder.try_finish().map_err(bad)?;
        Ok(self.take())
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(self.decoder.get_mut()).into()
    }
}

fn bad(error: std::io::Error) -> BadGzip {
    BadGzip(format!("the body is no valid gzip: {error}"))
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// The inflated bytes and the largest block.
    fn inflate(body: &[u8], step: usize) -> Result<(Vec<u8>, usize), BadGzip> {
        let (mut inflate, mut all, mut largest) = (Inflate::new(), Vec::new(), 0);
        for chunk in body.chunks(step) {
            let mut input = Bytes::copy_from_slice(chunk);
            while let Some(block) = inflate.push(&mut input)? {
                largest = largest.max(block.len());
                all.extend_from_slice(&block);
            }
            assert!(input.is_empty());
        }
        all.extend_from_slice(&inflate.finish()?);
        Ok((all, largest))
    }

    #[test]
    fn members_in_any_chunks() {
        let plain: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let body = [gzip(&plain[..1000]), gzip(&plain[1000..])].concat();
        for step in [1, 100, 70_000, 10_000_000] {
            assert_eq!(inflate(&body, step).unwrap().0, plain, "chunks of {step} bytes");
        }
    }

    #[test]
    fn a_bomb_comes_in_small_blocks() {
        let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
        let (all, largest) = inflate(&bomb, 1_000_000).unwrap();
        assert_eq!(all.len(), 64 * 1024 * 1024);
        assert!(largest < 1024 * 1024, "a block of {largest} bytes");
    }

    #[test]
    fn damage_is_an_error() {
        let body = gzip(b"{\"a\":1}");
        assert!(inflate(b"{\"a\":1}", 100).is_err());
        assert!(inflate(&body[..body.len() - 1], 100).is_err());
        let mut flipped = body.clone();
        let crc_at = flipped.len() - 8;
        flipped[crc_at] ^= 1;
        assert!(inflate(&flipped, 100).is_err());
        assert!(inflate(&[body, b"garbage".to_vec()].concat(), 100).is_err());
    }
}
