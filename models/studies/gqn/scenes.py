"""Rooms with a few coloured solids, and cameras that look at them: data for a scene network.

A room is a box with a floor, a ceiling and four walls in colours of their own. One to three solids
(spheres, cubes, cylinders) stand on the floor. Cameras stand on a circle and look at the middle, a
little off. Rays are cast with numpy; a lamp shades every surface by the angle at which it shines
on it (Lambert). After the rooms of Eslami et al. 2018, much reduced.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

#: Numbers that tell a camera: x, y, z, sin and cos of yaw, sin and cos of pitch.
POSE = 7
#: Half of the side of a room, and its height.
ROOM, HEIGHT = 1.6, 1.6
#: Cameras stand so far from the middle, so high.
DISTANCE, EYE = 1.25, 0.7
#: tan of half the field of view.
_VIEW = 0.7
_LAMP = np.array([0.4, 1.5, -0.3])
_AMBIENT = 0.45
KINDS = ("sphere", "cube", "cylinder")


@dataclass(frozen=True)
class Solid:
    """Stands on the floor at (x, z)."""

    kind: str
    x: float
    z: float
    size: float
    """Radius, or half of a side."""
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    walls: np.ndarray
    """Colours of the walls at −x, +x, −z, +z, then floor and ceiling: 6×3 in [0, 1]."""
    solids: tuple[Solid, ...]


def random_scene(rng: np.random.Generator) -> Scene:
    """Solids do not touch each other."""

    def colour(saturation: float, value: float) -> tuple[float, float, float]:
        return colorsys.hsv_to_rgb(rng.random(), saturation, value)

    walls = np.array([colour(0.35, 0.85) for _ in range(4)] + [(0.55, 0.5, 0.45), (0.9, 0.9, 0.9)])
    wanted, solids = rng.integers(1, 4), list[Solid]()
    while len(solids) < wanted:
        x, z = rng.uniform(-0.55, 0.55, 2)
        size = rng.uniform(0.18, 0.3)
        if all(np.hypot(x - s.x, z - s.z) > 1.4 * (size + s.size) for s in solids):
            kind = KINDS[rng.integers(len(KINDS))]
            solids.append(Solid(kind, x, z, size, colour(0.85, 0.95)))
    return Scene(walls, tuple(solids))


def random_pose(rng: np.random.Generator) -> np.ndarray:
    """A camera on the circle: (7,) float32."""
    angle = rng.uniform(-np.pi, np.pi)
    place = np.array([DISTANCE * np.sin(angle), EYE, DISTANCE * np.cos(angle)])
    yaw = angle + np.pi + rng.uniform(-0.25, 0.25)  # towards the middle
    pitch = rng.uniform(-0.45, -0.25)
    turned = [np.sin(yaw), np.cos(yaw), np.sin(pitch), np.cos(pitch)]
    return np.array([*place, *turned], dtype=np.float32)


def rays(pose: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) and unit directions side×side×3 of a camera's pixels, top left first."""
    x, y, z, sin_yaw, cos_yaw, sin_pitch, cos_pitch = pose.astype(np.float64)
    forward = np.array([cos_pitch * sin_yaw, sin_pitch, cos_pitch * cos_yaw])
    right = np.array([cos_yaw, 0.0, -sin_yaw])
    up = np.cross(forward, right)
    steps = _VIEW * (2 * (np.arange(side) + 0.5) / side - 1)
    directions = forward + steps[None, :, None] * right - steps[:, None, None] * up
    return np.array([x, y, z]), directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def render(scene: Scene, pose: np.ndarray, side: int = 32) -> np.ndarray:
    """A view: uint8 side×side×3."""
    origin, directions = rays(pose, side)
    depth, normal, colour = _room(scene, origin, directions)
    for solid in scene.solids:
        found, facing = _SOLIDS[solid.kind](solid, origin, directions)
        nearer = found < depth
        depth = np.where(nearer, found, depth)
        normal = np.where(nearer[..., None], facing, normal)
        colour = np.where(nearer[..., None], np.array(solid.colour), colour)
    point = origin + depth[..., None] * directions
    towards = _LAMP - point
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    light = _AMBIENT + (1 - _AMBIENT) * np.clip((towards * normal).sum(-1), 0, 1)
    return np.round(255 * np.clip(colour * light[..., None], 0, 1)).astype(np.uint8)


def _slabs(
    origin: np.ndarray, directions: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances at which rays cross the three pairs of planes of a box: nearer and farther,
    …×3."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - origin) / directions, (high - origin) / directions
    return np.fmin(a, b), np.fmax(a, b)


def _room(
    scene: Scene, origin: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, normal (inwards) and colour of the room's surfaces."""
    low, high = np.array([-ROOM, 0.0, -ROOM]), np.array([ROOM, HEIGHT, ROOM])
    _, far = _slabs(origin, directions, low, high)
    axis = far.argmin(-1)
    depth = far.min(-1)
    positive = np.take_along_axis(directions, axis[..., None], -1)[..., 0] > 0
    normal = np.eye(3)[axis] * np.where(positive, -1.0, 1.0)[..., None]
    surface = np.array([[0, 1], [4, 5], [2, 3]])[axis, positive.astype(int)]
    return depth, normal, scene.walls[surface]


def _sphere(
    solid: Solid, origin: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    centre = np.array([solid.x, solid.size, solid.z])
    offset = origin - centre
    b = directions @ offset
    inside = b**2 - (offset @ offset - solid.size**2)
    depth = np.where(inside > 0, -b - np.sqrt(np.maximum(inside, 0)), np.inf)
    depth = np.where(depth > 0, depth, np.inf)
    point = origin + np.where(np.isfinite(depth), depth, 0)[..., None] * directions
    return depth, (point - centre) / solid.size


def _cube(
    solid: Solid, origin: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    half = solid.size * np.ones(3)
    centre = np.array([solid.x, solid.size, solid.z])
    near, far = _slabs(origin, directions, centre - half, centre + half)
    enter, leave = near.max(-1), far.min(-1)
    depth = np.where((enter < leave) & (enter > 0), enter, np.inf)
    axis = near.argmax(-1)
    along = np.take_along_axis(directions, axis[..., None], -1)
    return depth, np.eye(3)[axis] * -np.sign(along)


def _cylinder(
    solid: Solid, origin: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Upright, twice as high as its radius."""
    radius, top = solid.size, 2 * solid.size
    flat, offset = directions[..., [0, 2]], origin[[0, 2]] - np.array([solid.x, solid.z])
    a = np.maximum((flat**2).sum(-1), 1e-12)
    b = flat @ offset
    inside = b**2 - a * (offset @ offset - radius**2)
    side = np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)
    height = origin[1] + np.where(np.isfinite(side), side, 0) * directions[..., 1]
    side = np.where((side > 0) & (height >= 0) & (height <= top), side, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        lid = (top - origin[1]) / directions[..., 1]
    place = offset + np.where(np.isfinite(lid), lid, 0)[..., None] * flat
    lid = np.where((lid > 0) & ((place**2).sum(-1) <= radius**2), lid, np.inf)
    depth = np.minimum(side, lid)
    around = (offset + np.where(np.isfinite(side), side, 0)[..., None] * flat) / radius
    normal = np.stack([around[..., 0], np.zeros(side.shape), around[..., 1]], -1)
    return depth, np.where((lid < side)[..., None], np.array([0.0, 1.0, 0.0]), normal)


_SOLIDS = {"sphere": _sphere, "cube": _cube, "cylinder": _cylinder}


def views(count: int, each: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``each`` views of ``count`` scenes: uint8 count×each×3×side×side, poses count×each×7."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, each, 3, side, side), np.uint8)
    poses = np.empty((count, each, POSE), np.float32)
    for i in range(count):
        scene = random_scene(rng)
        for k in range(each):
            poses[i, k] = random_pose(rng)
            images[i, k] = render(scene, poses[i, k], side).transpose(2, 0, 1)
    return images, poses
