"""How much weaker a signal gets on its way."""

import numpy as np
import numpy.typing as npt


def urban_macro_db(distance_m: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Path loss in dB at `distance_m` metres: 128.1 + 37.6 log10(d / 1 km).

    The macro-cell model of 3GPP TR 36.814 (table A.2.1.1.2-3, carrier of 2 GHz).
    """
    return np.asarray(128.1 + 37.6 * np.log10(np.asarray(distance_m, float) / 1000.0))
