//! Simulations that failed once, and what was wrong.

use super::script::{Op, Script};
use crate::disk::{Failure, Fault, Request, Stop, Traits};

const TRAITS: Traits = Traits { sector: 4096, powersafe: true, forgets: false, lies: false };
const DAY_US: i64 = 86_400_000_000;

/// Each with a name.
pub(crate) fn scripts() -> Vec<(&'static str, Script)> {
    vec![
        ("a clock that went ahead and is put back", ahead_and_back()),
        ("a clock that is put back while runs fail", back_while_runs_fail()),
        ("a run whose giving back is not heard of", given_back_unheard()),
        ("a window that was over is taken away", window_taken_away()),
        ("a task that lacks a second thing", lacks_a_second_thing()),
        ("a start that comes through unseen", starts_unseen()),
        ("a start of some hours ago", started_hours_ago()),
        ("a task that was tried again unseen", tried_again_unseen()),
        ("a start that was refused and came through", refused_and_through()),
    ]
}

/// Never a fault of what was released: what a planted one, a run given up although its attempt was started, is found by. The
/// spawner refuses a start of which an earlier try came through, while the daemon before this one was killed; seed 313.
fn refused_and_through() -> Script {
    let ops = vec![
        Op::Users { chance: 37_098_632_225_665_124, count: 12 },
        Op::Users { chance: 1_398_078_975_171_996_426, count: 6 },
        Op::Steps { chance: 8_929_754_335_287_538_095, count: 16 },
        Op::Steps { chance: 13_062_770_281_561_994_754, count: 88 },
        Op::Stop { how: Stop::Killed, chance: 6_056_703_272_805_853_819 },
        Op::Users { chance: 3_657_656_996_809_574_638, count: 6 },
        Op::Steps { chance: 7_809_128_269_310_761_315, count: 148 },
        Op::Steps { chance: 14_645_687_393_428_948_707, count: 184 },
    ];
    let traits = Traits { sector: 512, powersafe: false, ..TRAITS };
    Script { traits, seed: 14_583_333_474_873_304_403, ops }
}

/// A book that is filled did not read of starts before its day and the last hours, from which classes gain for nine; a book that
/// followed had them, and another order; seed 16148.
fn started_hours_ago() -> Script {
    let ops = vec![
        Op::Steps { chance: 13_821_080_633_251_970_630, count: 20 },
        Op::Flood { chance: 5_886_252_833_846_530_414, count: 1_718 },
        Op::Clock { by_us: 52_745_121_671 },
        Op::Steps { chance: 12_033_928_315_356_936_955, count: 385 },
        Op::Clock { by_us: 19_528_161_835 },
        Op::Steps { chance: 1_925_032_204_689_723_186, count: 383 },
    ];
    let traits = Traits { sector: 512, powersafe: false, ..TRAITS };
    Script { traits, seed: 6_082_376_239_080_349_852, ops }
}

/// In a book that followed, a task that could begin by the end of another waited from the first end of that on, when it was tried again and
/// ended alike between two looks: its class gained priority by time in which it could not begin; seed 50857.
fn tried_again_unseen() -> Script {
    let ops = vec![
        Op::Users { chance: 403_635_575_244_375_707, count: 12 },
        Op::Users { chance: 13_561_925_936_566_364_949, count: 6 },
        Op::Slow { ms: 4925 },
        Op::Steps { chance: 12_591_910_708_802_630_267, count: 80 },
        Op::Steps { chance: 18_397_534_379_386_116_788, count: 18 },
        Op::Steps { chance: 7_857_475_141_966_882_989, count: 145 },
        Op::Vanish { chance: 6_756_635_482_630_137_719 },
        Op::Clock { by_us: 41_055_584_484 },
        Op::Steps { chance: 7_111_194_410_957_799_950, count: 42 },
        Op::Steps { chance: 11_986_201_380_486_426_510, count: 52 },
        Op::Plan(Fault { request: Some(Request::Sync), after: 4, times: 1, failure: Failure::Killed }),
        Op::Steps { chance: 14_376_841_375_921_422_080, count: 94 },
        Op::Steps { chance: 16_535_153_243_145_998_725, count: 365 },
        Op::Steps { chance: 9_532_742_433_939_060_808, count: 20 },
        Op::Flood { chance: 3_919_871_553_261_138_222, count: 22 },
        Op::Steps { chance: 12_346_178_072_103_493_681, count: 133 },
        Op::Steps { chance: 3_126_885_096_903_623_442, count: 47 },
        Op::Steps { chance: 420_122_297_788_184_380, count: 61 },
        Op::Clock { by_us: 39_894_789_932 },
        Op::Users { chance: 12_046_457_652_909_675_667, count: 5 },
    ];
    let traits = Traits { powersafe: false, ..TRAITS };
    Script { traits, seed: 3_532_280_375_380_982_882, ops }
}

/// A wait that had begun anew with the end of a freeze window went on from there in a book that followed, when the window was
/// taken out of the configuration; seed 51082.
fn window_taken_away() -> Script {
    let ops = vec![
        Op::Users { chance: 1_520_760_774_532_793_466, count: 12 },
        Op::Steps { chance: 14_895_389_221_095_488_905, count: 255 },
        Op::Users { chance: 8_210_471_384_760_881_425, count: 8 },
        Op::Clock { by_us: 4_670_915_344 },
        Op::Limits { chance: 1_064_053_565_729_012_490 },
        Op::Steps { chance: 8_986_783_641_655_796_901, count: 21 },
        Op::Limits { chance: 10_889_784_137_644_512_577 },
    ];
    let traits = Traits { powersafe: false, ..TRAITS };
    Script { traits, seed: 3_020_869_692_022_563_257, ops }
}

/// In a book that followed, a task that waited for a semaphore kept no memory that it came to lack later; seed 868.
fn lacks_a_second_thing() -> Script {
    let ops = vec![
        Op::Users { chance: 17_994_842_505_332_048_313, count: 12 },
        Op::Steps { chance: 15_641_367_171_790_424_177, count: 157 },
        Op::Users { chance: 5_391_602_957_740_212_863, count: 5 },
        Op::Steps { chance: 11_864_502_381_113_835_402, count: 26 },
        Op::Users { chance: 1_406_331_055_320_303_727, count: 6 },
        Op::Steps { chance: 14_469_033_834_759_867_227, count: 330 },
        Op::Steps { chance: 2_278_393_112_875_982_062, count: 21 },
        Op::Steps { chance: 14_857_152_791_791_642_685, count: 275 },
        Op::Steps { chance: 13_069_713_750_536_171_684, count: 99 },
        Op::Users { chance: 10_843_129_165_902_732_158, count: 4 },
        Op::Steps { chance: 10_321_414_426_677_118_938, count: 371 },
        Op::Steps { chance: 15_872_137_633_546_314_067, count: 336 },
        Op::Steps { chance: 3_230_447_301_706_392_084, count: 138 },
        Op::Steps { chance: 1_247_664_933_907_526_188, count: 347 },
    ];
    script_of(6_393_351_640_043_932_471, ops)
}

/// A start that was not answered came through while the directory of its run could not be read, and the run was given up when it
/// was tried again; seed 3537.
fn starts_unseen() -> Script {
    let ops = vec![
        Op::Users { chance: 11_225_944_169_550_972_344, count: 12 },
        Op::Steps { chance: 4_085_269_319_826_561_898, count: 358 },
        Op::Steps { chance: 10_653_729_523_375_922_362, count: 39 },
        Op::Steps { chance: 9_647_462_906_327_258_025, count: 39 },
        Op::Break { chance: 14_274_434_425_712_427_828, ms: 60_000 },
        Op::Steps { chance: 9_047_757_384_058_750_382, count: 117 },
        Op::Steps { chance: 5_085_773_188_134_578_105, count: 112 },
    ];
    Script { traits: Traits { powersafe: false, ..TRAITS }, ..script_of(2_342_707_144_842_692_903, ops) }
}

fn script_of(seed: u64, ops: Vec<Op>) -> Script {
    Script { seed, ..script(ops) }
}

fn script(ops: Vec<Op>) -> Script {
    Script { traits: TRAITS, seed: 0, ops }
}

/// Priority that was gained, use that was counted and waits that began by a clock that was ahead were kept by a book that
/// followed, unlike one that was read anew; and the bound of a day held for no day after midnight had come and gone again.
fn ahead_and_back() -> Script {
    let mut ops = vec![Op::Users { chance: 1, count: 60 }, Op::Steps { chance: 1, count: 400 }];
    for chance in 2..8 {
        ops.extend([
            Op::Clock { by_us: DAY_US },
            Op::Steps { chance, count: 60 },
            Op::Users { chance, count: 10 },
            Op::Steps { chance: chance + 10, count: 60 },
            Op::Clock { by_us: -DAY_US },
            Op::Check,
            Op::Steps { chance: chance + 20, count: 40 },
            Op::Check,
        ]);
    }
    script(ops)
}

/// What failed was to wait until the clock had caught up with the log, and was chosen and refused again and again when only one
/// of the two looked at the clock.
fn back_while_runs_fail() -> Script {
    let mut ops = vec![Op::Users { chance: 3, count: 80 }, Op::Steps { chance: 3, count: 300 }];
    for chance in 0..4 {
        ops.extend([
            Op::Flood { chance, count: 20 },
            Op::Steps { chance, count: 200 },
            Op::Clock { by_us: -DAY_US },
            Op::Check,
            Op::Steps { chance: chance + 10, count: 200 },
            Op::Check,
        ]);
    }
    script(ops)
}

/// The claim with which a daemon kept a run from starting, to give it back, was taken for that of a shim when it could not say so
/// and tried again, and by the next daemon: the run was given back again and again without an end.
fn given_back_unheard() -> Script {
    let mut ops = vec![
        Op::Users { chance: 6_615_243_180_022_254_543, count: 12 },
        Op::Steps { chance: 6_040_688_372_127_882_893, count: 32 },
        Op::Steps { chance: 5_612_285_029_721_454_129, count: 50 },
        Op::Stop { how: Stop::Killed, chance: 459_439_446_777_836_818 },
        Op::LeaveRoom { bytes: 30_327 },
        Op::Clock { by_us: 64_725_999_237 },
        Op::Steps { chance: 8_417_464_277_907_636_124, count: 34 },
    ];
    for chance in 0..8 {
        ops.extend([
            // Something is chosen and not begun yet, and its lease is over when there is a daemon again.
            Op::Heal,
            Op::Flood { chance, count: 6 },
            Op::Steps { chance, count: 8 + chance },
            Op::Stop { how: Stop::Killed, chance },
            Op::LeaveRoom { bytes: 20_000 },
            Op::Clock { by_us: 600_000_000 },
            Op::Steps { chance: chance + 100, count: 34 },
        ]);
    }
    let traits = Traits { sector: 512, ..TRAITS };
    Script { traits, seed: 12_466_398_698_287_801_803, ops }
}
