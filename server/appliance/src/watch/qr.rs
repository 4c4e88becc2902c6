//! An address as a QR code of half blocks: a character is two modules, one above the other, which on a console are two squares.
//!
//! Name and scheme go in capitals, which mean the same (RFC 3986, §6.2.2.1): a code holds more of them, so that one for any name of
//! the local network has 29 modules at most.

use qrcode::{Color, EcLevel, QrCode, Version};

/// Modules around the code that stay light (ISO/IEC 18004, §6.3.8).
const QUIET: usize = 4;

/// Of the largest code that a page has room for: version 3, 29 modules.
const VERSION_MAX: i16 = 3;

/// Columns of the widest code, with what stays light around it.
pub const COLUMNS_MAX: usize = 29 + 2 * QUIET;

/// The code's rows, each of as many characters: `█` dark, blank light, `▀` and `▄` dark above and below. Nothing where the address is too
/// long for a page.
pub fn rows(address: &str) -> Option<Vec<String>> {
    let capitals = in_capitals(address);
    // A screen does not get dirty: the least correction makes the largest modules.
    let code = QrCode::with_error_correction_level(capitals, EcLevel::L).ok()?;
    match code.version() {
        Version::Normal(version) if version <= VERSION_MAX => Some(half_blocks(&code)),
        Version::Normal(_) | Version::Micro(_) => None,
    }
}

/// Scheme and host; what comes behind them may differ by its letters' case.
fn in_capitals(address: &str) -> String {
    let host = address.find("://").map_or(0, |at| at + 3);
    let end = address[host..].find('/').map_or(address.len(), |at| host + at);
    format!("{}{}", address[..end].to_ascii_uppercase(), &address[end..])
}

fn half_blocks(code: &QrCode) -> Vec<String> {
    let width = code.width();
    let side = width + 2 * QUIET;
    let is_dark = |column: usize, row: usize| {
        let within = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        within(column).zip(within(row)).is_some_and(|at| code[at] == Color::Dark)
    };
    let character = |column, row| match (is_dark(column, row), is_dark(column, row + 1)) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    };
    (0..side).step_by(2).map(|row| (0..side).map(|column| character(column, row)).collect()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{COLUMNS_MAX, rows};

    /// What a telephone reads off such rows; the characters are as wide as two of them are high.
    pub(crate) fn read(rows: &[String]) -> Option<String> {
        const PIXELS: usize = 4;
        let cells: Vec<Vec<char>> = rows.iter().map(|row| row.chars().collect()).collect();
        let (width, height) = (cells[0].len() * PIXELS, cells.len() * 2 * PIXELS);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            let character = cells[y / PIXELS / 2][x / PIXELS];
            let is_upper = (y / PIXELS).is_multiple_of(2);
            let is_dark = character == '█' || character == if is_upper { '▀' } else { '▄' };
            if is_dark { 0 } else { 170 }
        });
        let grids = image.detect_grids();
        grids.first().and_then(|grid| grid.decode().ok()).map(|(_, content)| content)
    }

    #[test]
    fn what_is_drawn_can_be_read() {
        for (address, read_as) in [
            ("http://posthouse.local/", "HTTP://POSTHOUSE.LOCAL/"),
            ("http://192.168.1.20/", "HTTP://192.168.1.20/"),
            ("http://box.local/Case?x", "HTTP://BOX.LOCAL/Case?x"),
        ] {
            assert_eq!(read(&rows(address).expect("room")).as_deref(), Some(read_as));
        }
    }

    #[test]
    fn the_longest_name_of_a_local_network_has_room() {
        let address = format!("http://{}.local/", "n".repeat(63));
        let rows = rows(&address).expect("room");
        assert_eq!(read(&rows), Some(address.to_uppercase()));
        assert!(rows.iter().all(|row| row.chars().count() == COLUMNS_MAX));
    }

    #[test]
    fn an_address_without_room_has_no_code() {
        assert_eq!(rows(&format!("http://{}/", "n".repeat(200))), None);
    }
}
