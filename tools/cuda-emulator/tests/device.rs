//! The words that kernels are written in mean the same on every device, and the emulator notices kernels that
//! break the rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use hgv::Error;
use hgv::backend::cuda::{Buffer, Device, Kernel, Stream};
use hgv_cuda_emulator::{Emulator, Order, for_each_device};
use zerocopy::{Immutable, IntoBytes};

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct SelfTestParams {
    input: u64,
    output: u64,
    sums: u64,
    floats: u64,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct FaultParams {
    output: u64,
    kind: u32,
    unused: u32,
}

static SELF_TEST: Kernel = Kernel::new::<SelfTestParams>("selftest", "hgv_self_test", 128);
static FAULT: Kernel = Kernel::new::<FaultParams>("faults", "hgv_fault", 64);
const THREADS: usize = 128;
const WORDS: usize = 16;

/// Words of a thread by plain arithmetic.
fn expected(input: &[u32], blocks: usize, at: usize) -> [u32; WORDS] {
    let word = input[at];
    let (block, thread) = (at / THREADS * THREADS, at % THREADS);
    let (warp, lane) = (at / 32 * 32, at % 32);
    let of_lane = |l: usize| input[warp + l];
    let warp_words = &input[warp..warp + 32];
    let bytes = |w: u32| w.to_le_bytes().map(|b| i32::from(b.cast_signed()));
    let other = (!word).wrapping_mul(3);
    let dot: i32 = bytes(word)
        .iter()
        .zip(bytes(other))
        .map(|(a, b)| a * b)
        .sum();
    [
        input[block + THREADS - 1 - thread],
        !input[block + (thread + 1) % THREADS],
        of_lane((lane * 7 + 3) % 32),
        of_lane(lane ^ 5),
        of_lane(if lane < 3 { lane } else { lane - 3 }),
        of_lane(if lane + 9 > 31 { lane } else { lane + 9 }),
        (0..32).map(|l| (of_lane(l) & 1) << l).sum(),
        warp_words.iter().map(|w| w & 0xffff).sum(),
        warp_words[..=lane].iter().map(|w| w & 0xffff).sum(),
        word.count_ones(),
        word.leading_zeros(),
        word.trailing_zeros(),
        ((u64::from(word) * 0x9E37_79B9) >> 32) as u32,
        (77 + dot).cast_unsigned(),
        u32::from(warp_words.contains(&0)),
        (thread / 32 + blocks * THREADS) as u32,
    ]
}

#[test]
fn words_mean_the_same_everywhere() {
    for_each_device(|device| {
        let blocks = 5;
        let mut input: Vec<u32> = (0..(blocks * THREADS) as u32)
            .map(|i| i.wrapping_mul(0x9E37_79B9) ^ i << 7)
            .collect();
        input[200] = u32::MAX;
        let count = input.len();
        let mut stream = Stream::new(device).unwrap();
        let [from, to, sums, floats] =
            [4 * count, 4 * WORDS * count, 16, 4 * count].map(|n| Buffer::new(device, n).unwrap());
        stream.upload(&from, 0, input.as_slice()).unwrap();
        stream.upload(&sums, 0, &[0u32, 0, u32::MAX, 0]).unwrap();
        let params = SelfTestParams {
            input: from.address(),
            output: to.address(),
            sums: sums.address(),
            floats: floats.address(),
        };
        let shared = 4 * THREADS as u32;
        stream
            .launch(&SELF_TEST, blocks as u32, shared, &params)
            .unwrap();
        let tickets = [(&to, 4 * WORDS * count), (&sums, 16), (&floats, 4 * count)]
            .map(|(buffer, bytes)| stream.download(buffer, 0, bytes).unwrap());
        assert!(matches!(
            stream.bytes(&tickets[0]),
            Err(Error::InvalidArgument(_))
        ));
        stream.synchronise().unwrap();
        let words = stream.elements::<u32>(&tickets[0]).unwrap();
        for (at, words) in words.chunks_exact(WORDS).enumerate() {
            assert_eq!(
                words,
                expected(&input, blocks, at),
                "{} at {at}",
                device.name()
            );
        }
        let all = [
            input.iter().fold(0u32, |a, b| a.wrapping_add(*b)),
            *input.iter().max().unwrap(),
            *input.iter().min().unwrap(),
            input.iter().fold(0, |a, b| a | b & 0x00ff_00ff),
        ];
        assert_eq!(stream.elements::<u32>(&tickets[1]).unwrap(), all);
        let floats = stream.elements::<f32>(&tickets[2]).unwrap();
        for (float, &word) in floats.iter().zip(&input) {
            let value = word.cast_signed() as f32 * 0.37;
            let wanted = value.mul_add(1.7, -3.25).round_ties_even() + value;
            assert_eq!(float.to_bits(), wanted.to_bits());
        }
        let old = tickets[0].clone();
        stream.recycle().unwrap();
        assert!(matches!(stream.bytes(&old), Err(Error::InvalidArgument(_))));
    });
}

/// Words that a faulty kernel leaves, or what the emulator says of it.
fn fault(order: Order, kind: u32) -> Option<Result<Vec<u32>, String>> {
    let device: Arc<dyn Device> = Arc::new(Emulator::new(order)?);
    let mut stream = Stream::new(&device).unwrap();
    let output = Buffer::new(&device, 4 * 64).unwrap();
    let params = FaultParams {
        output: output.address(),
        kind,
        unused: 0,
    };
    Some(match stream.launch(&FAULT, 1, 0, &params) {
        Ok(()) => {
            let ticket = stream.download(&output, 0, 4 * 64).unwrap();
            stream.synchronise().unwrap();
            Ok(stream.elements::<u32>(&ticket).unwrap().to_vec())
        }
        Err(e) => Err(e.to_string()),
    })
}

#[test]
fn broken_kernels_are_noticed() {
    for (kind, words) in [
        (0, "threads of a block wait at"),
        (1, "lane 7"),
        (3, "hgv_fault"),
    ] {
        for order in hgv_cuda_emulator::ORDERS {
            let Some(result) = fault(order, kind) else {
                eprintln!("SKIPPED: no C++20 compiler");
                return;
            };
            let message = result.unwrap_err();
            assert!(message.contains(words), "{kind} {order:?}: {message}");
        }
    }
}

#[test]
fn a_missing_barrier_shows_in_another_order() {
    let (Some(forward), Some(reverse)) = (fault(Order::Forward, 2), fault(Order::Reverse, 2))
    else {
        eprintln!("SKIPPED: no C++20 compiler");
        return;
    };
    assert_ne!(forward.unwrap(), reverse.unwrap());
}

#[test]
fn memory_is_given_back_and_bounded() {
    let Some(emulator) = Emulator::with_memory(Order::Forward, 1 << 20) else {
        eprintln!("SKIPPED: no C++20 compiler");
        return;
    };
    let emulator = Arc::new(emulator);
    let device: Arc<dyn Device> = emulator.clone();
    let buffer = Buffer::new(&device, 1 << 19).unwrap();
    assert!(matches!(
        Buffer::new(&device, 1 << 20),
        Err(Error::DeviceMemory(_))
    ));
    assert!(matches!(
        buffer.range(1, 1 << 19),
        Err(Error::InvalidArgument(_))
    ));
    let mut stream = Stream::new(&device).unwrap();
    let long = vec![0u8; (1 << 19) + 1];
    assert!(matches!(
        stream.upload(&buffer, 0, long.as_slice()),
        Err(Error::InvalidArgument(_))
    ));
    drop(buffer);
    assert_eq!(emulator.used(), 0);
}
