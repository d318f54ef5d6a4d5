"""Encoders of prompts: the shipped table, sentence-transformers models, and the caller's own vectors."""

from bandit_router.adapters.encoding.cached import CacheCounts, CachedEncoder
from bandit_router.adapters.encoding.factory import UnknownEncoder, make_encoder
from bandit_router.adapters.encoding.sentence_transformers import SentenceTransformersEncoder
from bandit_router.adapters.encoding.static import StaticEncoder
from bandit_router.adapters.encoding.vector import VectorEncoder

__all__ = [
    "CacheCounts",
    "CachedEncoder",
    "SentenceTransformersEncoder",
    "StaticEncoder",
    "UnknownEncoder",
    "VectorEncoder",
    "make_encoder",
]
