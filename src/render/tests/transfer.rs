//! Transfer functions.

use proptest::prelude::*;

use crate::render::transfer::{STEPS, Table};
use crate::render::{ColourPoint, OpacityPoint, Preset, TransferFunction};
use crate::stream::schedule::OpacityBound;

fn functions() -> impl Strategy<Value = TransferFunction> {
    let points = proptest::collection::vec((-100i32..100, 0.0f32..=1.0), 1..9);
    points.prop_map(|mut points| {
        points.sort_by_key(|p| p.0);
        let opacity = |&(value, opacity): &(i32, f32)| OpacityPoint {
            value: value as f32,
            opacity,
        };
        let white = ColourPoint {
            value: 0.0,
            rgb: [1.0; 3],
        };
        TransferFunction::new(points.iter().map(opacity).collect(), vec![white]).unwrap()
    })
}

proptest! {
    #[test]
    fn the_bound_of_a_range_is_met_and_never_passed(
        function in functions(), lo in -120.0f32..120.0, width in 0.0f32..100.0
    ) {
        let hi = lo + width;
        let most = function.most_opacity([lo, hi]);
        let inside = (0..=2000).map(|i| (lo + width * i as f32 / 2000.0).min(hi));
        let found = inside.map(|v| function.opacity(v)).fold(0.0, f32::max);
        prop_assert!(found <= most);
        // A step at a point is met from one side only.
        let points = function.opacity_points().iter().filter(|p| (lo..=hi).contains(&p.value));
        let met = points.map(|p| p.opacity).fold(found, f32::max);
        prop_assert!(met >= most - 1e-6);
    }

    #[test]
    fn json_brings_it_back(function in functions()) {
        let text = serde_json::to_string(&function).unwrap();
        prop_assert_eq!(serde_json::from_str::<TransferFunction>(&text).unwrap(), function);
    }
}

#[test]
fn bad_functions_are_refused() {
    let try_json = |text: &str| serde_json::from_str::<TransferFunction>(text);
    let colour = r#""colour": [{"value": 0, "rgb": [1, 1, 1]}]"#;
    for (points, word) in [
        (r"[]", "0 points"),
        (r#"[{"value": 0, "opacity": 1.5}]"#, "within 0..=1"),
        (
            r#"[{"value": 2, "opacity": 1}, {"value": 1, "opacity": 1}]"#,
            "may not fall",
        ),
        (r#"[{"value": 1e999, "opacity": 1}]"#, ""),
    ] {
        let error = try_json(&format!(r#"{{"opacity": {points}, {colour}}}"#)).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn ranges_without_values_and_numbers() {
    let function = TransferFunction::ramp([0.0, 10.0], 0.5);
    assert_eq!(
        function.most_opacity([f32::INFINITY, f32::NEG_INFINITY]),
        0.0
    );
    assert_eq!(function.most_opacity([f32::NAN, 1.0]), 1.0);
    assert_eq!(
        function.most_opacity([f32::NEG_INFINITY, f32::INFINITY]),
        0.5
    );
    assert_eq!(function.opacity(f32::NAN), 0.0);
}

#[test]
fn the_table_is_near_the_function() {
    let function = Preset::CtBone.transfer([-1000.0, 3000.0]);
    let table = Table::new(&function);
    for i in 0..1000 {
        let value = -1000.0 + 4.0 * i as f32;
        let u = (value - table.first) * table.scale;
        let at = (u as usize).min(STEPS);
        let stored = table.entries[at][3];
        let next = table.entries[at + 1][3];
        let opacity = 1.0 - (-(stored + (u - at as f32) * (next - stored))).exp();
        assert!((opacity - function.opacity(value)).abs() < 1e-3, "{value}");
    }
}

#[test]
fn presets_are_whole_functions() {
    for preset in Preset::ALL {
        assert_eq!(Preset::parse(preset.name()), Some(preset));
        for range in [
            [0.0, 255.0],
            [-0.1, 0.2],
            [7.0, 7.0],
            [f32::NAN, f32::INFINITY],
        ] {
            let made = preset.transfer(range);
            let again = TransferFunction::new(
                made.opacity_points().to_vec(),
                made.colour_points().to_vec(),
            );
            assert_eq!(again.unwrap(), made);
        }
    }
}
