//! Which form of a list the client wants (RFC 9110, 12.5.1).

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::ACCEPT;
use identity_core::http::Problem;
use mime::Mime;

/// A form in which a list of records is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `application/json`: the records.
    Records,
    /// `application/vnd.glotpod.resource-url+json`: their paths.
    Paths,
}

/// The forms, the one that we prefer first.
const FORMS: [Form; 2] = [Form::Records, Form::Paths];

impl Form {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Records => "application/json",
            Self::Paths => "application/vnd.glotpod.resource-url+json",
        }
    }

    /// The form that the client likes best, ours where it likes several alike.
    ///
    /// # Errors
    /// 406 when it accepts none.
    pub fn accepted(request: &HttpRequest) -> Result<Self, Problem> {
        let mut ranges = Vec::new();
        for value in request.headers().get_all(ACCEPT) {
            let value = value.to_str().map_err(|_| not_acceptable())?;
            ranges.extend(
                value
                    .split(',')
                    .map(str::trim)
                    .filter(|range| !range.is_empty())
                    .filter_map(Range::read),
            );
        }
        if !request.headers().contains_key(ACCEPT) {
            return Ok(Self::Records);
        }
        let liked = FORMS
            .into_iter()
            .rev()
            .map(|form| (quality(&ranges, form.media_type()), form));
        // The last of equals wins, which by the reversed order is ours.
        let best = liked
            .filter(|(quality, _)| *quality > 0)
            .max_by_key(|(quality, _)| *quality);
        best.map(|(_, form)| form).ok_or_else(not_acceptable)
    }
}

fn not_acceptable() -> Problem {
    let types = FORMS.map(Form::media_type).join(" and ");
    Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        format!("This list is to be had as {types}."),
    )
}

/// A media range of an Accept header with its quality, in thousandths.
struct Range {
    range: Mime,
    quality: u16,
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        // Blanks and nothing at all may stand around a semicolon (RFC 9110, 5.6.6), which `mime` does
        // not know.
        let parts: Vec<&str> = text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect();
        let range: Mime = parts.join(";").parse().ok()?;
        let quality = match range.get_param("q") {
            None => 1000,
            Some(q) => thousandths(q.as_str())?,
        };
        Some(Self { range, quality })
    }

    /// How exactly the range means `media_type`; none where it does not.
    fn exactness(&self, media_type: &str) -> Option<u8> {
        let (kind, subtype) = media_type.split_once('/')?;
        let (our_kind, our_subtype) = (
            self.range.type_().as_str(),
            self.range.essence_str().split_once('/')?.1,
        );
        // Our forms have no parameters, so that a range with one means something else.
        let parameters = self
            .range
            .params()
            .any(|(name, _)| name != "q" && name != "charset");
        match (our_kind, our_subtype) {
            _ if parameters => None,
            ("*", "*") => Some(0),
            (ours, "*") if ours.eq_ignore_ascii_case(kind) => Some(1),
            (ours, theirs) if ours.eq_ignore_ascii_case(kind) && theirs.eq_ignore_ascii_case(subtype) => {
                Some(2)
            }
            _ => None,
        }
    }
}

/// The quality that the most exact of the ranges gives to `media_type`.
fn quality(ranges: &[Range], media_type: &str) -> u16 {
    let meant = ranges
        .iter()
        .filter_map(|range| Some((range.exactness(media_type)?, range.quality)));
    meant
        .max_by_key(|(exactness, _)| *exactness)
        .map_or(0, |(_, quality)| quality)
}

/// `0`, `1`, `0.5`, `0.375`: a weight (RFC 9110, 12.4.2).
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = fraction.bytes().all(|digit| digit.is_ascii_digit());
    match (whole, digits && fraction.len() <= 3) {
        ("0", true) => format!("{fraction:0<3}").parse().ok(),
        ("1", true) if fraction.bytes().all(|digit| digit == b'0') => Some(1000),
        _ => None,
    }
}
