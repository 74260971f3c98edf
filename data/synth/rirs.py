"""A set in the layout of RIRS_NOISES: impulse responses of empty rooms, small, medium and large.

Early echoes are those of the image sources of a box whose walls all reflect alike; after the images end,
noise dies away as they did.

Source: Allen and Berkley 1979; sizes of rooms: Ko et al. 2017.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from .writing import Plan, check_size, wav_bytes

SAMPLE_RATE = 16_000
SPEED = 343.0  # of sound, metres a second
ROOMS = {  # metres: width and length, height
    "smallroom": ((1, 10), (2, 5)),
    "mediumroom": ((10, 30), (2, 5)),
    "largeroom": ((30, 50), (2, 5)),
}
REFLECTION = (0.45, 0.9)  # of the pressure, at a wall
SIZES = {"tiny": (1, 2), "demo": (10, 10), "large": (100, 20)}  # rooms of a kind, responses of a room
ORDER = 6  # images of up to so many boxes away in each direction
SECONDS = 1.0  # of a response, at most


class Response(NamedTuple):
    """One file; what seeds its generator."""

    seed: int
    kind: int  # of ROOMS
    room: int
    number: int

    @property
    def path(self) -> str:
        """simulated_rirs/KIND/RoomNNN/RoomNNN-NNNNN.wav."""
        room = f"Room{self.room + 1:03d}"
        return f"simulated_rirs/{list(ROOMS)[self.kind]}/{room}/{room}-{self.number + 1:05d}.wav"


def image_echoes(
    room: np.ndarray, source: np.ndarray, microphone: np.ndarray, reflection: float
) -> tuple[np.ndarray, np.ndarray]:
    """The echoes of a box.

    Args:
        room: [3] its sides in metres.
        source: [3] where the sound is.
        microphone: [3] where it is heard.
        reflection: the share of the pressure that a wall sends back.

    Returns:
        [N] seconds after which each arrives, and [N] its amplitude: reflection^walls / metres.
    """
    boxes = np.array(list(product(range(-ORDER, ORDER + 1), repeat=3)))[:, None]  # [B, 1, 3]
    mirrored = np.array(list(product((0, 1), repeat=3)))[None]  # [1, 8, 3]
    images = 2 * boxes * room + (1 - 2 * mirrored) * source  # [B, 8, 3]
    walls = np.abs(boxes - mirrored).sum(-1) + np.abs(boxes).sum(-1)  # [B, 8]
    metres = np.maximum(np.linalg.norm(images - microphone, axis=-1), 0.1)
    return (metres / SPEED).ravel(), (reflection**walls / metres).ravel()


def impulse_response(
    rng: Generator, room: np.ndarray, source: np.ndarray, microphone: np.ndarray, reflection: float
) -> np.ndarray:
    """[T] samples from the moment of the sound; the largest is 1 in size."""
    arrival, amplitude = image_echoes(room, source, microphone, reflection)
    # Sabine's and Eyring's time, with ln of the energy that a wall sends back
    area = 2 * (room[0] * room[1] + room[0] * room[2] + room[1] * room[2])
    decay = 24 * np.log(10) / SPEED * room.prod() / (-area * np.log(reflection**2))  # seconds to -60 dB
    complete = (2 * ORDER * room.min() - np.linalg.norm(room)) / SPEED  # every earlier image is there
    mixed = float(np.clip(complete, 0.02 + arrival.min(), 0.2))
    num_samples = round(min(max(decay, mixed + 0.05), SECONDS) * SAMPLE_RATE)

    response = np.zeros(num_samples)
    early = arrival < min(mixed, (num_samples - 1) / SAMPLE_RATE)
    # Signs at random, for walls that scatter: all alike, they would add up to a tone of 0 Hz.
    signs = np.where(np.arange(len(arrival)) == arrival.argmin(), 1, rng.choice([-1, 1], len(arrival)))
    np.add.at(response, (arrival[early] * SAMPLE_RATE).astype(int), (signs * amplitude)[early])

    join = round(mixed * SAMPLE_RATE)
    before = response[max(0, join - 400) : join]  # the last 25 ms of the echoes
    t = np.arange(num_samples - join) / SAMPLE_RATE
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / decay)
    response[join:] += before.std() * tail
    return response / np.abs(response).max()


def render(clip: Response) -> bytes:
    """The bytes of a response's file."""
    room_rng = np.random.default_rng([*clip[:3], 0])
    sides, height = list(ROOMS.values())[clip.kind]
    room = np.array([*room_rng.uniform(*sides, 2), room_rng.uniform(*height)])
    reflection = room_rng.uniform(*REFLECTION)
    rng = np.random.default_rng([*clip, 1])
    source, microphone = rng.uniform(0.1 * room, 0.9 * room, (2, 3))
    return wav_bytes(0.9 * impulse_response(rng, room, source, microphone, reflection), SAMPLE_RATE)


def plan(size: str, seed: int) -> Plan:
    """The rooms of a size, of every kind as many."""
    check_size(size)
    rooms, responses = SIZES[size]
    each = product(range(len(ROOMS)), range(rooms), range(responses))
    clips = [Response(seed, *numbers) for numbers in each]
    return Plan({clip.path: clip for clip in clips}, render, {})
