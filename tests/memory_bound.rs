//! Hostile files cost no memory: whatever numbers they hold, peak heap stays under
//! 1 MiB + 4 x input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod counting;

use std::cell::Cell;
use std::ops::ControlFlow;

use common::{Numbers, Style, contents, file_bytes, layers, open, sample};
use counting::Counting;
use hgv::format::crc::crc32;

thread_local! {
    /// Bytes held by this thread now, and the most since it was reset.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn note(change: isize) {
    // Fails only while the thread ends.
    let _ = HELD.try_with(|h| {
        let (now, peak) = h.get();
        h.set((now + change, peak.max(now + change)));
    });
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(note);

/// Peak heap growth while `work` runs on this thread.
fn peak(work: impl FnOnce()) -> usize {
    HELD.with(|h| h.set((0, 0)));
    work();
    HELD.with(|h| h.get().1).max(0) as usize
}

/// Opens, reads and checks all that a file lets be read.
fn read_all(bytes: Vec<u8>) {
    if let Ok(reader) = open(bytes) {
        let _ = contents(&reader);
        let _ = reader.verify_structure();
        let _ = reader.verify_payloads(&mut |_, _| ControlFlow::Continue(()));
    }
}

/// Makes the header's own checksum right again.
fn seal(bytes: &mut [u8]) {
    if bytes.len() >= 256 {
        let crc = crc32(&bytes[..252]);
        bytes[252..256].copy_from_slice(&crc.to_le_bytes());
    }
}

#[test]
fn declared_sizes_are_refused_before_memory_is_taken() {
    let s = sample(
        [64, 64, 64],
        6,
        layers(3),
        Style {
            models: 0,
            ..Style::default()
        },
    );
    let good = file_bytes(&s);
    let put = |at: usize, value: &[u8]| {
        let mut bytes = good[..good.len().min(300)].to_vec();
        bytes[32..40].copy_from_slice(&300u64.to_le_bytes());
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes.resize(300, 0);
        seal(&mut bytes);
        bytes
    };
    // 10^8 blocks: 464^3, and a root with an entry for each.
    let mut blocks = put(56, &(464u64 * 64).to_le_bytes().repeat(3));
    blocks[112..116].copy_from_slice(&2_400_000_004u32.to_le_bytes());
    blocks[88..96].copy_from_slice(&100_000_000u64.to_le_bytes());
    seal(&mut blocks);
    let hostile = [
        blocks,
        put(112, &u32::MAX.to_le_bytes()),
        put(120, &u32::MAX.to_le_bytes()),
        put(80, &u64::MAX.to_le_bytes()),
        put(104, &u64::MAX.to_le_bytes()),
        put(32, &u64::MAX.to_le_bytes()),
        put(56, &u64::MAX.to_le_bytes().repeat(3)),
        put(96, &u64::MAX.to_le_bytes()),
    ];
    for (i, bytes) in hostile.into_iter().enumerate() {
        assert_eq!(bytes.len(), 300);
        let mut error = String::new();
        let used = peak(|| error = open(bytes).unwrap_err().to_string());
        assert!(used < 16 << 10, "case {i}: {used} bytes ({error})");
    }
}

/// Random damage, with checksums made right where that is easy, so that deep code sees it.
#[test]
fn random_damage_stays_in_the_budget() {
    let mut numbers = Numbers(7);
    for round in 0..6 {
        let style = Style {
            seed: round,
            page_log2: 2,
            longest: 60,
            ..Style::default()
        };
        let mut s = sample([160, 160, 100], 5, layers(4), style);
        s.options.root_entries = [512, 2][round as usize % 2];
        let good = file_bytes(&s);
        assert!(good.len() <= 64 << 10);
        for _ in 0..300 {
            let mut bytes = good.clone();
            for _ in 0..=numbers.below(3) {
                let at = match numbers.below(3) {
                    0 => numbers.below(256),
                    1 => numbers.below(900),
                    _ => numbers.below(bytes.len() as u64),
                } as usize;
                bytes[at] =
                    [0, 1, 0x7F, 0x80, 0xFF, numbers.next() as u8][numbers.below(6) as usize];
            }
            seal_all(&mut bytes);
            let input = bytes.len();
            let used = peak(|| read_all(bytes));
            assert!(used <= (1 << 20) + 4 * input, "{used} bytes for {input}");
        }
    }
}

/// Makes header, section table and section checksums right where their ranges exist.
fn seal_all(bytes: &mut [u8]) {
    let u32_at = |b: &[u8], at: usize| u32::from_le_bytes(b[at..at + 4].try_into().unwrap());
    let range = |b: &[u8], at: u64, n: u64| {
        let end = at.checked_add(n).filter(|&e| e <= b.len() as u64)?;
        Some(at as usize..end as usize)
    };
    let u64_at = |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().unwrap());
    let count = u64::from(u32_at(bytes, 120));
    if let Some(table) = range(bytes, u64_at(bytes, 104), count * 24) {
        for at in table.clone().step_by(24) {
            let (offset, length) = (u64_at(bytes, at + 8), u64::from(u32_at(bytes, at + 16)));
            if let Some(section) = range(bytes, offset, length) {
                let crc = crc32(&bytes[section]);
                bytes[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
            }
        }
        let crc = crc32(&bytes[table]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
    }
    if let Some(root) = range(bytes, u64_at(bytes, 80), u64::from(u32_at(bytes, 112))) {
        let crc = crc32(&bytes[root]);
        bytes[116..120].copy_from_slice(&crc.to_le_bytes());
    }
    seal(bytes);
}
