"""Images, sound, moderations and Gemini embeddings with the real SDKs: what reaches the provider, what is booked."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from google import genai
from google.genai import types
from openai import AzureOpenAI

from tests.support.clients import sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-media")

WHISPER = {"audio_usd_per_minute": 0.006}
FREE = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
SOUND = b"ID3\x00\xff\r\n--not the boundary\r\n\r\n" + bytes(range(128)) * 100
TOKENS = {
    "total_tokens": 4260,
    "input_tokens": 100,
    "input_tokens_details": {"text_tokens": 20, "image_tokens": 80},
    "output_tokens": 4160,
}
POOR = {"name": "poor", "user": "carol", "agent": "poor"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    images = {"image_usd": 0.04, "image_usd_by": {"hd": 0.08, "1024x1792": 0.09, "hd/1024x1792": 0.12}}
    models = {
        "dall-e-3": {"provider": "mock", "price": {**FREE, **images}},
        "gpt-image": {
            "provider": "mock",
            "model": "deployed-image",
            "price": {"input_usd_per_mtok": 5, "output_usd_per_mtok": 40, "image_input_usd_per_mtok": 10},
        },
        "whisper": {
            "provider": "mock",
            "model": "deployed-whisper",
            "price": {**FREE, **WHISPER},
        },
        "scribe": {"provider": "mock", "price": {**PRICE, "audio_input_usd_per_mtok": 6}},
        "tts": {"provider": "mock", "price": {**FREE, "characters_usd_per_million": 15}},
        "talker": {"provider": "mock", "price": {**PRICE, "audio_output_usd_per_mtok": 12}},
        "omni-moderation-latest": {"provider": "mock"},
        "unpriced": {"provider": "mock"},
        "embed": {"provider": "google", "model": "deployed-embed", "price": PRICE},
    }
    with GatewayProcess(
        tmp_path_factory.mktemp("media"),
        upstream.base_url,
        keys=(ALICE, POOR),
        models=models,
        providers={
            "google": {"kind": "gemini", "base_url": upstream.origin, "api_key": "${PROVIDER_KEY}"},
            "mock": {"kind": "openai_compatible", "base_url": upstream.base_url, "api_key": "none"},
        },
        limits=[{"name": "poor-run", "each": "session", "agent": "poor", "usd": 0.01}],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def booked(gateway: GatewayProcess, headers: Any) -> tuple[int, int, int, str | None]:
    """(input tokens, output tokens, micro-USD, how it was estimated)"""
    row: dict[str, Any] = eventually(
        lambda: row if (row := gateway.call(headers["x-comptroller-call"]))["state"] == "settled" else None
    )
    return row["input_tokens"], row["output_tokens"], row["usd_micros"], row["estimated"]


def says(upstream: UpstreamProcess, body: object, content_type: str = "application/json") -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    upstream.script(body=text, content_type=content_type)


@pytest.mark.parametrize(
    ("asked", "micros"),
    [
        ({}, 2 * 120_000),
        ({"quality": "standard", "size": "1024x1024"}, 2 * 40_000),
        ({"quality": "hd", "size": "1024x1024"}, 2 * 80_000),
        ({"quality": "hd", "size": "1024x1792"}, 2 * 120_000),
    ],
)
def test_images_are_booked_by_count_and_kind(gateway, upstream, asked, micros):
    says(upstream, {"created": 1, "data": [{"url": "http://a"}, {"url": "http://b"}]})
    with sdk(gateway) as client:
        raw = client.images.with_raw_response.generate(model="dall-e-3", prompt="a cat", n=2, **asked)
    assert len(raw.parse().data) == 2
    (row,) = upstream.log()
    assert row.target == "/v1/images/generations"
    assert booked(gateway, raw.headers) == (0, 0, micros, None)


def test_images_by_tokens_are_booked_as_reported(gateway, upstream):
    says(upstream, {"created": 1, "data": [{"b64_json": "eA=="}], "usage": TOKENS})
    with sdk(gateway) as client:
        raw = client.images.with_raw_response.generate(model="gpt-image", prompt="a cat")
    assert json.loads(upstream.log()[0].body)["model"] == "deployed-image"
    assert booked(gateway, raw.headers) == (100, 4160, 20 * 5 + 80 * 10 + 4160 * 40, None)


def test_an_edit_passes_its_files_byte_for_byte(gateway, upstream):
    says(upstream, {"created": 1, "data": [{"b64_json": "eA=="}], "usage": TOKENS})
    picture = b"\x89PNG\r\n" + SOUND
    with sdk(gateway) as client:
        raw = client.images.with_raw_response.edit(
            model="gpt-image", prompt="a hat", image=[("a.png", picture), ("b.png", picture)]
        )
    (row,) = upstream.log()
    assert row.target == "/v1/images/edits"
    assert "deployed-image" in row.body
    assert "gpt-image" not in row.body
    assert row.body.count(picture.decode("utf-8", "backslashreplace")) == 2
    assert booked(gateway, raw.headers)[2] == 20 * 5 + 80 * 10 + 4160 * 40


@pytest.mark.filterwarnings("ignore:deprecated")
def test_a_variation_needs_no_prompt(gateway, upstream):
    says(upstream, {"created": 1, "data": [{"url": "http://a"}]})
    with sdk(gateway) as client:
        raw = client.images.with_raw_response.create_variation(model="dall-e-3", image=("a.png", SOUND))
    assert upstream.log()[0].target == "/v1/images/variations"
    assert booked(gateway, raw.headers)[2] == 120_000


def test_speech_is_booked_by_its_characters(gateway, upstream):
    says(upstream, "sound", "audio/mpeg")
    with sdk(gateway) as client:
        raw = client.audio.speech.with_raw_response.create(model="tts", voice="alloy", input="hällo " * 100)
    assert raw.content == b"sound"
    assert raw.headers["content-type"] == "audio/mpeg"
    assert booked(gateway, raw.headers) == (0, 0, 600 * 15, None)


def test_speech_by_tokens_is_booked_by_the_stated_estimate(gateway, upstream):
    says(upstream, "sound", "audio/mpeg")
    with sdk(gateway) as client:
        raw = client.audio.speech.with_raw_response.create(model="talker", voice="alloy", input="a" * 50)
    _, output, micros, estimated = booked(gateway, raw.headers)
    assert (output, estimated) == (150, "no_usage")
    assert 150 * 12 < micros <= 150 * 12 + 300


@pytest.mark.parametrize(
    ("form", "reply", "kind", "micros", "estimated"),
    [
        ("json", {"text": "hi", "usage": {"type": "duration", "seconds": 90}}, "application/json", 9000, None),
        ("verbose_json", {"text": "hi", "duration": 8.47, "segments": []}, "application/json", 850, None),
        ("srt", "1\n00:00:00,000 --> 00:01:00,000\nhi\n", "text/plain", 6010, None),
        # 12,832 bytes of sound are 7 seconds at the stated rate.
        ("text", "hi", "text/plain", 700, "no_usage"),
    ],
)
def test_transcriptions_are_booked_by_the_sound(gateway, upstream, form, reply, kind, micros, estimated):
    says(upstream, reply, kind)
    with sdk(gateway) as client:
        raw = client.audio.transcriptions.with_raw_response.create(
            model="whisper", file=("a.mp3", SOUND), response_format=form
        )
    (row,) = upstream.log()
    assert row.target == "/v1/audio/transcriptions"
    assert "deployed-whisper" in row.body
    assert SOUND.decode("utf-8", "backslashreplace") in row.body
    assert raw.headers["content-type"].startswith(kind)
    assert booked(gateway, raw.headers) == (0, 0, micros, estimated)


def test_a_transcription_by_tokens_is_booked_as_reported(gateway, upstream):
    usage = {
        "type": "tokens",
        "input_tokens": 140,
        "input_token_details": {"text_tokens": 10, "audio_tokens": 130},
        "output_tokens": 30,
        "total_tokens": 170,
    }
    says(upstream, {"text": "hi", "usage": usage})
    with sdk(gateway) as client:
        raw = client.audio.transcriptions.with_raw_response.create(model="scribe", file=("a.mp3", SOUND))
    assert booked(gateway, raw.headers) == (140, 30, 10 + 130 * 6 + 30 * 2, None)


@pytest.mark.filterwarnings("ignore:deprecated")
def test_a_translation_goes_to_its_own_endpoint(gateway, upstream):
    says(upstream, {"text": "hi", "duration": 60.0})
    with sdk(gateway) as client:
        raw = client.audio.translations.with_raw_response.create(model="whisper", file=("a.mp3", SOUND))
    assert upstream.log()[0].target == "/v1/audio/translations"
    assert booked(gateway, raw.headers)[2] == 6000


def test_moderations_are_free_and_counted(gateway, upstream):
    says(upstream, {"id": "m", "model": "omni-moderation-latest", "results": []})
    with sdk(gateway) as client:
        raw = client.moderations.with_raw_response.create(input="hello")
    assert booked(gateway, raw.headers) == (0, 0, 0, None)


def test_gemini_embeddings_are_booked_as_reported_or_counted(gateway, upstream):
    said = {"embedding": {"values": [0.5]}, "embeddings": [{"values": [0.5]}, {"values": [0.25]}]}
    says(upstream, {**said, "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}})
    options = types.HttpOptions(base_url=gateway.origin)
    with genai.Client(api_key=gateway.keys["alice"], http_options=options) as client:
        reply = client.models.embed_content(model="embed", contents=["one", "two"])
    assert [each.values for each in reply.embeddings] == [[0.5], [0.25]]
    (row,) = upstream.log()
    assert row.target == "/v1beta/models/deployed-embed:batchEmbedContents"
    assert {each["model"] for each in row.json["requests"]} == {"models/deployed-embed"}
    assert reply.sdk_http_response is not None
    assert booked(gateway, reply.sdk_http_response.headers) == (7, 0, 7, None)


@pytest.mark.parametrize(
    ("model", "key", "status", "code"),
    [
        ("dall-e-3", "poor", 402, "session_budget_exhausted"),
        ("unpriced", "alice", 400, "price_unknown"),
        ("embed", "alice", 400, "field_unsupported"),
        ("nothing", "alice", 400, "model_unknown"),
    ],
)
def test_refusals_come_before_anything_leaves(gateway, upstream, model, key, status, code):
    with sdk(gateway, key) as client, pytest.raises(openai.APIStatusError) as refused:
        client.images.generate(model=model, prompt="a cat")
    assert (refused.value.status_code, refused.value.code) == (status, code)
    assert upstream.log() == []


def test_a_form_with_two_models_is_refused(gateway, upstream):
    twice = [("model", (None, b"scribe")), ("model", (None, b"whisper")), ("file", ("a.mp3", SOUND))]
    headers = {"authorization": f"Bearer {gateway.keys['alice']}"}
    reply = httpx.post(f"{gateway.base_url}/audio/transcriptions", files=twice, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "request_malformed")
    assert "`model` came more than once" in reply.json()["error"]["message"]
    assert upstream.log() == []


@contextlib.contextmanager
def azure(gateway: GatewayProcess, deployment: str) -> Iterator[AzureOpenAI]:
    client = AzureOpenAI(
        azure_endpoint=gateway.origin,
        azure_deployment=deployment,
        api_version="2024-10-21",
        api_key=gateway.keys["alice"],
        max_retries=0,
    )
    with client:
        yield client


def test_the_azure_sdk_makes_images_speech_and_transcriptions_by_its_deployments(gateway, upstream):
    says(upstream, {"created": 1, "data": [{"url": "http://a"}]})
    with azure(gateway, "dall-e-3") as client:
        raw = client.images.with_raw_response.generate(model="dall-e-3", prompt="a cat", quality="hd", size="1024x1024")
    assert booked(gateway, raw.headers) == (0, 0, 80_000, None)
    says(upstream, "sound", "audio/mpeg")
    with azure(gateway, "tts") as client:
        spoken = client.audio.speech.with_raw_response.create(model="tts", voice="alloy", input="a" * 100)
    assert booked(gateway, spoken.headers) == (0, 0, 100 * 15, None)
    says(upstream, {"text": "one two", "usage": {"type": "duration", "seconds": 60}})
    with azure(gateway, "whisper") as client:
        heard = client.audio.transcriptions.with_raw_response.create(model="whisper", file=("a.wav", SOUND))
    assert heard.parse().text == "one two"
    assert booked(gateway, heard.headers)[2:] == (6000, None)
    targets = [row.target for row in upstream.log()]
    assert targets == ["/v1/images/generations", "/v1/audio/speech", "/v1/audio/transcriptions"]


def test_a_form_at_a_deployment_need_not_name_a_model(gateway, upstream):
    says(upstream, {"text": "one two", "usage": {"type": "duration", "seconds": 60}})
    reply = httpx.post(
        f"{gateway.origin}/openai/deployments/whisper/audio/transcriptions?api-version=2024-10-21",
        headers={"api-key": gateway.keys["alice"]},
        files={"file": ("a.wav", SOUND, "audio/wav")},
    )
    assert reply.json()["text"] == "one two"
    assert "deployed-whisper" in upstream.log()[0].body
