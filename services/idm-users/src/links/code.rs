//! QR codes (ISO/IEC 18004), as PNG and as SVG.

use qrcode::render::svg;
use qrcode::{Color, EcLevel, QrCode};

/// The width of a module in pixels.
const MODULE: usize = 6;
/// The width of the border that readers need, in modules.
const BORDER: usize = 4;

/// The form of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picture {
    Png,
    Svg,
}

impl Picture {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
        }
    }
}

/// A picture of `text`.
///
/// # Errors
/// What is too long for a code.
pub(super) fn draw(text: &str, picture: Picture) -> Result<Vec<u8>, String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).map_err(|error| error.to_string())?;
    match picture {
        Picture::Svg => Ok(code.render::<svg::Color<'_>>().build().into_bytes()),
        Picture::Png => png(&code).map_err(|error| error.to_string()),
    }
}

/// One bit a pixel: dark is 0.
fn png(code: &QrCode) -> Result<Vec<u8>, png::EncodingError> {
    let side = (code.width() + 2 * BORDER) * MODULE;
    let modules = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let module = |pixel: usize| {
            (pixel / MODULE)
                .checked_sub(BORDER)
                .filter(|at| *at < code.width())
        };
        let at = module(y)
            .zip(module(x))
            .map(|(row, column)| row * code.width() + column);
        at.and_then(|at| modules.get(at))
            .is_some_and(|color| *color == Color::Dark)
    };
    let mut pixels = Vec::with_capacity(side.div_ceil(8) * side);
    for y in 0..side {
        for byte in 0..side.div_ceil(8) {
            let bits = (0..8).filter(|bit| !is_dark(byte * 8 + bit, y));
            pixels.push(bits.fold(0, |byte, bit| byte | 0x80 >> bit));
        }
    }
    let mut file = Vec::new();
    let width = u32::try_from(side).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(&mut file, width, width);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(file)
}
