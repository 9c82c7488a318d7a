"""Every route of the HTTP face in one table: what it is, who may use it, who answers. Nothing else is served."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.web import azure, media
from gateway.web.anthropic import count_tokens, messages, vertex
from gateway.web.bedrock import bedrock, inference_profiles
from gateway.web.face import Handler
from gateway.web.gemini import gemini_model, gemini_models, generate
from gateway.web.health import healthz, metrics, readyz
from gateway.web.openai import chat_completions, embeddings, model, models
from gateway.web.responses import completions, input_tokens, responses


class Guard(StrEnum):
    """Who may use a route."""

    PUBLIC = "public"
    KEY = "key"
    ADMIN = "admin"
    ADMIN_OFF_LOOPBACK = "admin_off_loopback"


@dataclass(frozen=True, slots=True)
class Route:
    """`path` in Quart's notation; `fast` routes may skip Quart's request context (`server.fast_path`)."""

    method: str
    path: str
    guard: Guard
    handler: Handler
    summary: str
    fast: bool = False


OPENAI_ROUTES = tuple(
    route
    for prefix in ("/v1", "/openai/v1", "")
    for route in (
        Route("POST", f"{prefix}/chat/completions", Guard.KEY, chat_completions, "OpenAI chat completions", fast=True),
        Route("POST", f"{prefix}/responses", Guard.KEY, responses, "OpenAI responses", fast=True),
        Route("POST", f"{prefix}/responses/input_tokens", Guard.KEY, input_tokens, "Tokens of a prompt, free"),
        Route("POST", f"{prefix}/completions", Guard.KEY, completions, "OpenAI completions"),
        Route("POST", f"{prefix}/embeddings", Guard.KEY, embeddings, "OpenAI embeddings", fast=True),
        Route("GET", f"{prefix}/models", Guard.KEY, models, "The models that this key may use"),
        Route("GET", f"{prefix}/models/<path:model>", Guard.KEY, model, "One model that this key may use"),
        Route("POST", f"{prefix}/images/generations", Guard.KEY, media.images, "OpenAI images"),
        Route("POST", f"{prefix}/images/edits", Guard.KEY, media.image_edits, "OpenAI image edits, a form"),
        Route("POST", f"{prefix}/images/variations", Guard.KEY, media.image_variations, "OpenAI image variations"),
        Route("POST", f"{prefix}/audio/speech", Guard.KEY, media.speech, "OpenAI speech"),
        Route("POST", f"{prefix}/audio/transcriptions", Guard.KEY, media.transcriptions, "Transcriptions, a form"),
        Route("POST", f"{prefix}/audio/translations", Guard.KEY, media.translations, "Translations of sound, a form"),
        Route("POST", f"{prefix}/moderations", Guard.KEY, media.moderations, "OpenAI moderations, free"),
    )
)
"""Below the usual prefix, that of Azure's newer API, and none: some editors leave it out."""
_DEPLOYMENT = "/openai/deployments/<deployment>"
AZURE_ROUTES = (
    Route(
        "POST",
        f"{_DEPLOYMENT}/chat/completions",
        Guard.KEY,
        azure.chat_completions,
        "Azure chat completions",
        fast=True,
    ),
    Route("POST", f"{_DEPLOYMENT}/completions", Guard.KEY, azure.completions, "Azure completions", fast=True),
    Route("POST", f"{_DEPLOYMENT}/embeddings", Guard.KEY, azure.embeddings, "Azure embeddings", fast=True),
    Route("POST", f"{_DEPLOYMENT}/images/generations", Guard.KEY, azure.images, "Azure images"),
    Route("POST", f"{_DEPLOYMENT}/images/edits", Guard.KEY, media.image_edits, "Azure image edits, a form"),
    Route("POST", f"{_DEPLOYMENT}/audio/speech", Guard.KEY, azure.speech, "Azure speech"),
    Route("POST", f"{_DEPLOYMENT}/audio/transcriptions", Guard.KEY, media.transcriptions, "Azure transcriptions"),
    Route("POST", f"{_DEPLOYMENT}/audio/translations", Guard.KEY, media.translations, "Azure translations of sound"),
    Route("POST", "/openai/responses", Guard.KEY, responses, "Azure responses"),
    Route("GET", "/openai/models", Guard.KEY, models, "The models that this key may use"),
)
DATA_ROUTES = (
    *OPENAI_ROUTES,
    *AZURE_ROUTES,
    Route("POST", "/v1/messages", Guard.KEY, messages, "Anthropic messages", fast=True),
    Route("POST", "/v1/messages/count_tokens", Guard.KEY, count_tokens, "Tokens of an Anthropic prompt, free"),
    Route("POST", "/vertex/<path:call>", Guard.KEY, vertex, "Anthropic messages by Vertex's paths", fast=True),
    Route("POST", "/v1beta/models/<path:call>", Guard.KEY, generate, "Gemini: generateContent and its kin", fast=True),
    Route(
        "POST", "/v1/models/<path:call>", Guard.KEY, generate, "The same, for clients of Gemini's version 1", fast=True
    ),
    Route("GET", "/v1beta/models", Guard.KEY, gemini_models, "The models that this key may use, for Gemini clients"),
    Route("GET", "/v1beta/models/<path:model>", Guard.KEY, gemini_model, "One model, for Gemini clients"),
    Route(
        "POST",
        "/bedrock/model/<path:call>",
        Guard.KEY,
        bedrock,
        "Bedrock: converse and invoke, whole or streamed",
        fast=True,
    ),
    Route("GET", "/bedrock/inference-profiles", Guard.KEY, inference_profiles, "The models that this key may use"),
)
HEALTH_ROUTES = (
    Route("GET", "/healthz", Guard.PUBLIC, healthz, "Liveness"),
    Route("GET", "/readyz", Guard.PUBLIC, readyz, "Readiness"),
    Route("GET", "/metrics", Guard.ADMIN_OFF_LOOPBACK, metrics, "Prometheus metrics"),
)
ROUTES = (*DATA_ROUTES, *HEALTH_ROUTES)
