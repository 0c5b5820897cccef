//! From the bytes of a body to one signature and what it is made over. Nothing is verified here, and
//! nothing but what the signature is made over is given on.

use std::io::Read;

use pgp::armor::{BlockType, Dearmor, DearmorOptions};
use pgp::packet::{CompressedData, Packet, PacketParser, Signature};

use super::Refused;

/// The most bytes that a message may have when it is decompressed.
const LARGEST: usize = 1 << 20;
/// A one-pass signature, what is signed, the signature.
const MOST_PACKETS: usize = 3;

const CLEARTEXT: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// One signature, and what it is made over.
#[derive(Debug)]
pub struct Signed {
    /// What is signed; of a cleartext message the text as it is hashed, with CR LF between lines.
    pub content: Vec<u8>,
    /// The signature, not verified.
    pub signature: Signature,
}

/// Reads a cleartext-signed message, or a signed message: armored or binary, compressed or not, with
/// a one-pass signature or with the signature in front (RFC 9580, 7 and 10.3).
///
/// # Errors
/// [`Refused`] for all else, such as text outside the signed part, several signatures, or compression
/// within compression.
pub fn parse(body: &[u8]) -> Result<Signed, Refused> {
    let trimmed = body.trim_ascii();
    match (body.first(), trimmed.first()) {
        (_, None) => Err(Refused::Nothing),
        _ if trimmed.starts_with(CLEARTEXT.as_bytes()) => cleartext(trimmed),
        _ if trimmed.starts_with(b"-----BEGIN PGP ") => {
            packets(&dearmored(trimmed, &BlockType::Message)?, false)
        }
        // The highest bit of a packet's first byte is always set.
        (Some(first), _) if first & 0x80 != 0 => packets(body, false),
        _ => Err(Refused::NotOpenPgp),
    }
}

/// The content of one armored block that is all there is (RFC 9580, 6).
fn dearmored(text: &[u8], expected: &BlockType) -> Result<Vec<u8>, Refused> {
    // Two dashed words at its beginning and two at its end: nothing stands outside.
    let dashes = text.windows(5).filter(|window| window == b"-----").count();
    let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if dashes != 4 || !last.starts_with(b"-----END PGP ") {
        return Err(Refused::Unreadable);
    }
    let mut armor = Dearmor::with_options(text, DearmorOptions::new().set_limit(text.len() + 1));
    let mut content = Vec::new();
    armor.read_to_end(&mut content).map_err(|_| Refused::Unreadable)?;
    match &armor.typ {
        Some(found) if found == expected => Ok(content),
        Some(BlockType::Signature) => Err(Refused::Shape("it is a signature without what is signed")),
        _ => Err(Refused::Shape("it is another kind of OpenPGP block")),
    }
}

fn packets(bytes: &[u8], decompressed: bool) -> Result<Signed, Refused> {
    let mut found = Vec::with_capacity(MOST_PACKETS);
    let mut rest = bytes;
    while !rest.is_empty() {
        if found.len() == MOST_PACKETS {
            return Err(Refused::Shape(
                "there is more than one signature, or something else beside",
            ));
        }
        // One at a time, to see that each takes something and all take everything.
        let packet = PacketParser::new(&mut rest).next();
        found.push(packet.and_then(Result::ok).ok_or(Refused::Unreadable)?);
    }
    let mut found = found.into_iter();
    let signed = match (found.next(), found.next(), found.next()) {
        (Some(Packet::CompressedData(packed)), None, None) => {
            return if decompressed {
                Err(Refused::Shape("it is compressed within what is compressed"))
            } else {
                packets(&unpacked(&packed)?, true)
            };
        }
        (
            Some(Packet::OnePassSignature(announced)),
            Some(Packet::LiteralData(data)),
            Some(Packet::Signature(signature)),
        ) => {
            if !announced.matches(&signature) {
                return Err(Refused::Shape("the signature is another than was announced"));
            }
            (data, signature)
        }
        (Some(Packet::Signature(signature)), Some(Packet::LiteralData(data)), None) => (data, signature),
        (Some(Packet::Signature(_)), None, None) => {
            return Err(Refused::Shape("it is a signature without what is signed"));
        }
        (Some(Packet::LiteralData(_)), None, None) => return Err(Refused::Shape("it is not signed")),
        _ => {
            return Err(Refused::Shape(
                "its parts are others than those of a signed message",
            ));
        }
    };
    let (data, signature) = signed;
    if data.data().len() > LARGEST {
        return Err(Refused::TooLarge);
    }
    Ok(Signed {
        content: data.data().to_vec(),
        signature,
    })
}

fn unpacked(packed: &CompressedData) -> Result<Vec<u8>, Refused> {
    let mut stream = packed.decompress().map_err(|_| Refused::Unreadable)?;
    let mut content = Vec::new();
    (&mut stream)
        .take(LARGEST as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|_| Refused::Unreadable)?;
    if content.len() > LARGEST {
        return Err(Refused::TooLarge);
    }
    // A packet without a length goes on to the end, past the end of the compressed stream.
    if !stream.get_ref().is_empty() {
        return Err(Refused::Shape("something follows it"));
    }
    Ok(content)
}

/// The cleartext signature framework (RFC 9580, 7).
fn cleartext(message: &[u8]) -> Result<Signed, Refused> {
    let message = std::str::from_utf8(message).map_err(|_| Refused::Unreadable)?;
    let mut lines = message.split_inclusive('\n');
    let first = lines.next().map(str::trim_end);
    if first != Some(CLEARTEXT) {
        return Err(Refused::Unreadable);
    }
    for line in lines.by_ref() {
        match line.trim_end() {
            "" => break,
            header if header.starts_with("Hash: ") => {}
            _ => return Err(Refused::Unreadable),
        }
    }
    let mut content = Vec::new();
    let mut armor = String::new();
    for line in lines {
        if !armor.is_empty() || line.trim_end() == SIGNATURE {
            armor.push_str(line);
            continue;
        }
        // Whatever begins with a dash must be escaped, so that no line can pass for another part.
        let text = match line.strip_prefix("- ") {
            Some(text) => text,
            None if line.starts_with('-') => return Err(Refused::Unreadable),
            None => line,
        };
        // Blanks at the ends of lines are not signed.
        content.push(text.trim_end_matches(['\n', '\r', ' ', '\t']));
    }
    let signature = dearmored(armor.as_bytes(), &BlockType::Signature)?;
    let mut rest = &signature[..];
    let Some(Ok(Packet::Signature(signature))) = PacketParser::new(&mut rest).next() else {
        return Err(Refused::Unreadable);
    };
    if !rest.is_empty() {
        return Err(Refused::Shape(
            "there is more than one signature, or something else beside",
        ));
    }
    Ok(Signed {
        content: content.join("\r\n").into_bytes(),
        signature,
    })
}
