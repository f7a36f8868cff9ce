#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! The shipped networks against the forward pass of the script that trained them, and what is made of them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

/// What `tools/bench/predictor/train.py --vectors` writes.
#[derive(Deserialize)]
struct Case {
    features: Features,
    /// Exponent and outputs before they are made to rise.
    rows: Vec<[f64; OUTPUTS + 1]>,
    /// Four SSIM targets and the exponent that they are answered with.
    targets: Vec<[f64; LODS + 1]>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn networks() -> Networks {
    Networks::parse(WEIGHTS).unwrap()
}

#[test]
fn inference_is_that_of_the_training_script() {
    let (networks, cases) = (networks(), cases());
    assert!(cases.len() >= 3);
    for case in &cases {
        for [exponent, wanted @ ..] in &case.rows {
            let found = expected(&networks.curves, &case.features, *exponent);
            for (o, (found, wanted)) in found.iter().zip(clamped(*wanted)).enumerate() {
                let off = (found - wanted).abs();
                assert!(
                    off < 1e-9,
                    "output {o} at {exponent}: {found}, not {wanted}"
                );
            }
        }
        let prediction = Prediction::new(networks.clone(), &case.features, [true; LODS]);
        for [wanted @ .., exponent] in &case.targets {
            let found = prediction.exponent_for_ssim(*wanted);
            assert!(
                (found - exponent).abs() < 1e-9,
                "{wanted:?}: {found}, not {exponent}"
            );
        }
    }
}

#[test]
fn curves_rise_and_their_inverses_meet_the_target() {
    for case in cases() {
        let prediction = Prediction::new(networks(), &case.features, [true; LODS]);
        for pair in prediction.corrected.0.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(a, b)| a <= b));
        }
        let psnr = prediction.at(5.0).psnr;
        assert!((prediction.at(prediction.exponent_for_psnr(psnr)).psnr - psnr).abs() < 1e-9);
        let bits = prediction.at(5.0).bits_per_voxel;
        let exponent = prediction.exponent_for_bits(bits);
        assert!((prediction.at(exponent).bits_per_voxel / bits - 1.0).abs() < 1e-9);
        // Nothing meets this, and anything that.
        assert_eq!(prediction.exponent_for_psnr(1e9), 12.0);
        assert_eq!(prediction.exponent_for_bits(0.0), 0.0);
    }
}

#[test]
fn higher_targets_need_finer_steps_and_levels_without_ssim_do_not_count() {
    for case in cases() {
        let all = Prediction::new(networks(), &case.features, [true; LODS]);
        let low = all.exponent_for_ssim([0.8, 0.85, 0.9, 0.95]);
        let high = all.exponent_for_ssim([0.98, 0.99, 0.99, 0.995]);
        assert!(low < high, "{low} {high}");
        let some = Prediction::new(networks(), &case.features, [true, false, false, false]);
        assert_eq!(some.at(4.0).ssim[1], None);
        assert_eq!(some.at(4.0).ssim[0], all.at(4.0).ssim[0]);
        let wanted = [0.9, 0.999_999, 0.999_999, 0.999_999];
        assert!(some.exponent_for_ssim(wanted) < all.exponent_for_ssim(wanted));
    }
}

#[test]
fn wrong_weights_are_refused() {
    let value: Value = serde_json::from_str(WEIGHTS).unwrap();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut changed = value.clone();
        change(&mut changed);
        Networks::parse(&changed.to_string()).is_err()
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|v| v["version"] = 2.into()));
    assert!(refused(&|v| v["exponent"] = v["curves"].clone()));
    assert!(refused(&|v| v["curves"]["mean"] = json!([0.0])));
    assert!(refused(&|v| v["curves"]["scale"][0] = 0.0.into()));
    assert!(refused(&|v| v["curves"]["members"] = json!([])));
    assert!(refused(&|v| v["curves"]["members"][0]["layers"] = json!([])));
    assert!(refused(
        &|v| v["curves"]["members"][0]["layers"][0]["bias"] = json!([1.0])
    ));
    assert!(refused(
        &|v| v["exponent"]["members"][1]["layers"][0]["weights"][0] = json!([1.0])
    ));
    assert!(Networks::parse("{").is_err());
}

#[test]
fn qualities_are_those_of_the_open_loop() {
    assert_eq!(quality_of(6.5), 60.0);
    assert_eq!(quality_of(0.5), 0.0);
    assert_eq!(quality_of(16.5), 100.0);
    assert_eq!(quality_of(-3.0), 0.0);
}
