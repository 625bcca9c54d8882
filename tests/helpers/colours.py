"""How colours look to people: contrast, distance, and what is left of them for the colour-blind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float64]  # linear red, green and blue, each from 0 to 1; shape (3,)

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# IEEE Transactions on Visualization and Computer Graphics 15(6), 2009: severity 1.0, on linear sRGB.
EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# From linear sRGB to CIE XYZ with the white point D65 (IEC 61966-2-1).
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def colour(text: str) -> Colour:
    """Of "#rrggbb"."""
    values = np.array([int(text[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: Colour, other: Colour) -> float:
    """The contrast ratio of WCAG 2.2, from 1 to 21."""
    light, dark = sorted((float(_XYZ[1] @ one) + 0.05, float(_XYZ[1] @ other) + 0.05), reverse=True)
    return light / dark


def distance(one: Colour, other: Colour, eyes: str) -> float:
    """The distance in CIE L*a*b* of what these eyes see; about 2.3 is just noticed side by side."""
    return float(np.linalg.norm(_lab(one, eyes) - _lab(other, eyes)))


def _lab(seen: Colour, eyes: str) -> NDArray[np.float64]:
    x, y, z = np.cbrt(
        _XYZ @ np.clip(EYES[eyes] @ seen, 0, 1) / _XYZ.sum(axis=1)
    )  # none of ours is so dark as to need more
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
