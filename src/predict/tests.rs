#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! The shipped network against the forward pass of the script that trained it, and what is made of it.

use serde::Deserialize;

use super::*;

/// What `tools/bench/predictor/train.py --vectors` writes.
#[derive(Deserialize)]
struct Case {
    features: Features,
    /// Exponent and outputs before they are made to rise.
    rows: Vec<[f64; OUTPUTS + 1]>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn network() -> Network {
    Network::parse(WEIGHTS, INPUTS, OUTPUTS).unwrap()
}

#[test]
fn inference_is_that_of_the_training_script() {
    let (network, cases) = (network(), cases());
    assert!(cases.len() >= 3);
    for case in &cases {
        for [exponent, wanted @ ..] in &case.rows {
            let found = expected(&network, &case.features, *exponent);
            for (o, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                let wanted = if o < LODS {
                    wanted.clamp(0.0, FINEST)
                } else {
                    *wanted
                };
                assert!(
                    (found - wanted).abs() < 1e-9,
                    "output {o} at {exponent}: {found}, not {wanted}"
                );
            }
        }
    }
}

#[test]
fn curves_rise_and_their_inverses_meet_the_target() {
    for case in cases() {
        let prediction = Prediction::new(&network(), &case.features, [true; LODS]);
        for pair in prediction.rows.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(a, b)| a <= b));
        }
        let wanted = [0.9, 0.95, 0.97, 0.98];
        let exponent = prediction.exponent_for_ssim(wanted);
        let at = prediction.at(exponent);
        for (found, wanted) in at.ssim.iter().zip(wanted) {
            assert!(found.unwrap() >= wanted - 1e-9, "{at:?}");
        }
        if exponent > 0.0 {
            let below = prediction.at(exponent - 0.01).ssim;
            assert!(below.iter().zip(wanted).any(|(s, w)| s.unwrap() < w));
        }
        let psnr = prediction.at(5.0).psnr;
        assert!((prediction.at(prediction.exponent_for_psnr(psnr)).psnr - psnr).abs() < 1e-9);
        let bits = prediction.at(5.0).bits_per_voxel;
        let exponent = prediction.exponent_for_bits(bits);
        assert!((prediction.at(exponent).bits_per_voxel / bits - 1.0).abs() < 1e-9);
        // Nothing meets this, and anything that.
        assert_eq!(prediction.exponent_for_psnr(1e9), 12.0);
        assert_eq!(prediction.exponent_for_ssim([0.0; 4]), 0.0);
    }
}

#[test]
fn levels_without_ssim_do_not_count() {
    let case = &cases()[0];
    let all = Prediction::new(&network(), &case.features, [true; LODS]);
    let some = Prediction::new(&network(), &case.features, [true, false, false, false]);
    assert_eq!(some.at(4.0).ssim[1], None);
    assert_eq!(
        some.exponent_for_ssim([0.9, 1.0, 1.0, 1.0]),
        all.exponent_for_ssim([0.9, 0.0, 0.0, 0.0])
    );
}

#[test]
fn wrong_weights_are_refused() {
    let value: serde_json::Value = serde_json::from_str(WEIGHTS).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = value.clone();
        change(&mut changed);
        Network::parse(&changed.to_string(), INPUTS, OUTPUTS).is_err()
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|v| v["version"] = 2.into()));
    assert!(refused(&|v| v["mean"] = serde_json::json!([0.0])));
    assert!(refused(&|v| v["scale"][0] = 0.0.into()));
    assert!(refused(
        &|v| v["members"][0]["layers"] = serde_json::json!([])
    ));
    assert!(refused(
        &|v| v["members"][0]["layers"][0]["bias"] = serde_json::json!([1.0])
    ));
    assert!(refused(
        &|v| v["members"][1]["layers"][0]["weights"][0] = serde_json::json!([1.0])
    ));
    assert!(Network::parse("{", INPUTS, OUTPUTS).is_err());
}

#[test]
fn qualities_are_those_of_the_open_loop() {
    assert_eq!(quality_of(6.5), 60.0);
    assert_eq!(quality_of(0.5), 0.0);
    assert_eq!(quality_of(16.5), 100.0);
    assert_eq!(quality_of(-3.0), 0.0);
}
