"""A small catalogue of devices: how fast each one trains, its memory, and its power meanwhile, with sources.

`flops_per_s` is *sustained in LoRA training*, not the peak of a data sheet. Some entries are measured
training runs; the others are data-sheet peaks times the utilisation that the measured Jetson Nano
reached (`UTILISATION`), so the figures are comparable with one another but no promise for a device.

`power_w` is what the board (of a phone: the processor) draws at full load, by the power mode or power profile
that its maker publishes: a ceiling for training, which keeps no device fully busy. Only the TX2's is that of
a slower mode than its speed, as NVIDIA gives no budget for the fastest.
"""

from dataclasses import dataclass
from typing import Literal

# A LoRA step of Gemma-3-270M (100 M parameters in the blocks, 168 M in the tied LM head) on 8 x 64
# tokens is 4 * 268e6 * 512 = 5.5e11 FLOP. EdgeFlowerTune's lab notes give 11.4 to 14.1 s for it on a
# Jetson Nano 4 GB (236 GFLOP/s peak in fp32): 43 GFLOP/s, a utilisation of 0.18.
UTILISATION = 0.18
GIB = 2.0**30


@dataclass(frozen=True)
class Device:
    """One class of device. `flops_per_s` in FLOP/s sustained in training, `memory_bytes` in bytes.

    `power_w` is drawn while it computes; None where nobody knows.

    `basis` says where the speed comes from: a training run that was measured, a data sheet it was derived
    from, or what a scenario states; `source` says which. `power_source` says where the power does.
    """

    name: str
    flops_per_s: float
    memory_bytes: float
    basis: Literal["measured", "derived", "stated"]
    source: str
    power_w: float | None = None
    power_source: str = "scenario"


CATALOGUE: dict[str, Device] = {
    device.name: device
    for device in (
        Device(
            "phone-778g",
            3.2e9,
            6 * GIB,
            "measured",
            "EdgeFlowerTune: 170 s for 5.5e11 FLOP on a Snapdragon 778G, an unoptimised CPU path (a floor)",
            4.2,
            "Android power profile of the Motorola edge (2021), a Snapdragon 778G: 1082 mA with all cores at "
            "full clock, times a cell's nominal 3.85 V",
        ),
        Device(
            "jetson-nano",
            43e9,
            4 * GIB,
            "measured",
            "EdgeFlowerTune: 11.4 to 14.1 s for 5.5e11 FLOP on a Jetson Nano 4 GB, fp32",
            10.0,
            "NVIDIA Jetson Linux: MAXN, the default mode, 10 W",
        ),
        Device(
            "jetson-tx2",
            UTILISATION * 665e9,
            8 * GIB,
            "derived",
            "NVIDIA data sheet: 256 Pascal cores at 1.30 GHz, 665 GFLOP/s fp32, times UTILISATION",
            15.0,
            "NVIDIA, power profiles of the same chip in the DRIVE 5.0 guide: MaxP, 15 W, GPU at 1.12 "
            "GHz; the default with 1.30 GHz (Max-N of Jetson) has no budget, so this is rather too little",
        ),
        Device(
            "jetson-orin-nano",
            UTILISATION * 1280e9,
            8 * GIB,
            "derived",
            "NVIDIA data sheet: 1024 Ampere cores at 625 MHz, 1.28 TFLOP/s fp32, times UTILISATION",
            15.0,
            "NVIDIA data sheet and nvpmodel: 15 W, the largest mode of the module as it was sold with 625 "
            "MHz (the later Super modes: 25 W and more at up to 1.02 GHz)",
        ),
        Device(
            "jetson-agx-orin",
            UTILISATION * 5325e9,
            32 * GIB,
            "derived",
            "NVIDIA data sheet: 2048 Ampere cores at 1.3 GHz, 5.33 TFLOP/s fp32, times UTILISATION; the "
            "first developer kit, with 32 GB",
            60.0,
            "NVIDIA module data sheet: up to 60 W with these 2048 cores (the module that is sold with 32 GB "
            "has 1792 at 930 MHz and draws up to 40 W)",
        ),
        Device(
            "laptop-2-core",
            190e9,
            16 * GIB,
            "measured",
            "SmolLM2-135M, LoRA in bf16, 4 x 256 tokens in 2.9 s on 2 AVX-512 cores, with PEFT's layers",
            28.0,
            "a stand-in: Intel Core i3-1115G4, a laptop's 2 AVX-512 cores (without bf16 instructions, which "
            "the measured speed used): configurable TDP up to 28 W, at a base clock of 3.0 GHz",
        ),
    )
}
