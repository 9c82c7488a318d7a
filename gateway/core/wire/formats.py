"""Every wire format that calls of a model can have, by name."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from gateway.core.wire import (
    anthropic_neutral,
    anthropic_reply,
    anthropic_request,
    anthropic_trace,
    bedrock_invoke,
    bedrock_neutral,
    bedrock_reply,
    bedrock_request,
    bedrock_trace,
    completions,
    gemini_embeddings,
    gemini_neutral,
    gemini_prompt,
    gemini_reply,
    gemini_request,
    gemini_trace,
    openai_chat,
    openai_media,
    openai_neutral,
    openai_prompt,
    openai_reply,
    openai_trace,
    rate_headers,
    responses_neutral,
    responses_reply,
    responses_request,
    responses_trace,
)
from gateway.core.wire.eventstream import EVENT_STREAM, FrameDecoder
from gateway.core.wire.format import MODEL, Conversation, Replies, Requests, WireFormat
from gateway.core.wire.task import Task

OPENAI_CHAT = WireFormat(
    name="openai_chat",
    title="OpenAI chat",
    path="/chat/completions",
    requests=Requests(
        read=openai_chat.read_chat,
        outgoing=openai_chat.outgoing,
        without_tools=openai_chat.without_tools,
        beside=openai_prompt.beside,
        texts=openai_prompt.texts,
        aside=openai_prompt.NOT_THE_REQUEST,
    ),
    replies=Replies(
        usage=openai_reply.reply_usage,
        text=openai_reply.reply_text,
        calls=openai_reply.all_calls,
        tier=openai_reply.reply_tier,
    ),
    conversation=Conversation(openai_trace.exchanges, openai_trace.beginning, openai_trace.answered),
    meter=openai_reply.ChatMeter,
    ending=openai_reply.ChatEnd,
    half=openai_neutral.HALF,
)

ANTHROPIC_MESSAGES = WireFormat(
    name="anthropic_messages",
    title="Anthropic messages",
    path="/messages",
    requests=Requests(
        read=anthropic_request.read_messages,
        outgoing=anthropic_request.outgoing,
        without_tools=anthropic_request.without_tools,
        beside=anthropic_request.beside,
        texts=anthropic_request.texts,
        aside=anthropic_request.ASIDE,
    ),
    replies=Replies(
        usage=anthropic_reply.reply_usage,
        text=anthropic_reply.reply_text,
        calls=anthropic_reply.reply_calls,
        tier=anthropic_reply.reply_tier,
        used=anthropic_reply.reply_used,
    ),
    conversation=Conversation(anthropic_trace.exchanges, anthropic_trace.beginning, anthropic_trace.answered),
    meter=anthropic_reply.MessagesMeter,
    ending=anthropic_reply.MessagesEnd,
    half=anthropic_neutral.HALF,
    rates=rate_headers.anthropic_rates,
    cap_field="max_tokens",
    passed_headers=("anthropic-version", "anthropic-beta"),
    passed_query=("beta",),
)

GEMINI = WireFormat(
    name="gemini",
    title="Gemini",
    path=f"/v1beta/models/{MODEL}:generateContent",
    stream_path=f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse",
    requests=Requests(
        read=gemini_request.read_generate,
        outgoing=gemini_request.outgoing,
        without_tools=gemini_request.without_tools,
        beside=gemini_prompt.beside,
        texts=gemini_prompt.texts,
        aside=gemini_prompt.ASIDE,
        messages=gemini_prompt.messages_of,
    ),
    replies=Replies(
        usage=gemini_reply.reply_usage,
        text=gemini_reply.reply_text,
        calls=gemini_reply.reply_calls,
        tier=gemini_reply.reply_tier,
        used=gemini_reply.reply_used,
    ),
    conversation=Conversation(gemini_trace.exchanges, gemini_trace.beginning, gemini_trace.answered),
    meter=gemini_reply.GenerateMeter,
    ending=gemini_reply.GenerateEnd,
    cap_field=gemini_request.MAX_FIELD,
    half=gemini_neutral.HALF,
)

OPENAI_RESPONSES = WireFormat(
    name="openai_responses",
    title="OpenAI responses",
    path="/responses",
    requests=Requests(
        read=responses_request.read,
        outgoing=responses_request.outgoing,
        without_tools=responses_request.without_tools,
        messages=responses_request.messages_of,
        beside=responses_request.beside,
        texts=responses_request.texts,
        aside=responses_request.NOT_THE_REQUEST,
    ),
    replies=Replies(
        usage=responses_reply.reply_usage,
        text=responses_reply.reply_text,
        calls=responses_reply.reply_calls,
        tier=responses_reply.reply_tier,
        used=responses_reply.reply_used,
    ),
    conversation=Conversation(responses_trace.exchanges, responses_trace.beginning, responses_trace.answered),
    meter=responses_reply.ResponsesMeter,
    ending=responses_reply.ResponsesEnd,
    half=responses_neutral.HALF,
    cap_field=responses_request.CAP_FIELD,
)

OPENAI_COMPLETIONS = WireFormat(
    name="openai_completions",
    title="OpenAI completions",
    path="/completions",
    requests=Requests(
        read=completions.read,
        outgoing=completions.outgoing,
        without_tools=completions.without_tools,
        messages=completions.messages_of,
        beside=completions.beside,
        texts=completions.texts,
        aside=completions.NOT_THE_REQUEST,
    ),
    replies=Replies(
        usage=openai_reply.reply_usage,
        text=completions.reply_text,
        calls=completions.reply_calls,
        tier=openai_reply.reply_tier,
    ),
    conversation=Conversation(completions.exchanges, completions.beginning, completions.answered),
    meter=completions.CompletionMeter,
    ending=openai_reply.ChatEnd,
    cap_field=completions.CAP_FIELD,
)

BEDROCK_CONVERSE = WireFormat(
    name="bedrock_converse",
    title="Bedrock Converse",
    path=f"/model/{MODEL}/converse",
    stream_path=f"/model/{MODEL}/converse-stream",
    requests=Requests(
        read=bedrock_request.read_converse,
        outgoing=bedrock_request.outgoing,
        without_tools=bedrock_request.without_tools,
        beside=bedrock_request.beside,
        texts=bedrock_request.texts,
        aside=bedrock_request.ASIDE,
    ),
    replies=Replies(
        usage=bedrock_reply.reply_usage,
        text=bedrock_reply.reply_text,
        calls=bedrock_reply.reply_calls,
        tier=bedrock_reply.reply_tier,
    ),
    conversation=Conversation(bedrock_trace.exchanges, bedrock_trace.beginning, bedrock_trace.answered),
    meter=bedrock_reply.ConverseMeter,
    ending=bedrock_reply.ExceptionEnd,
    cap_field=bedrock_request.MAX_FIELD,
    half=bedrock_neutral.CONVERSE,
    decoder=FrameDecoder,
    stream_type=EVENT_STREAM,
)

BEDROCK_INVOKE = WireFormat(
    name="bedrock_invoke",
    title="Bedrock invoke",
    path=f"/model/{MODEL}/invoke",
    stream_path=f"/model/{MODEL}/invoke-with-response-stream",
    requests=Requests(
        read=bedrock_invoke.read_invoke,
        outgoing=bedrock_invoke.outgoing,
        without_tools=anthropic_request.without_tools,
        beside=bedrock_invoke.beside,
        texts=anthropic_request.texts,
        aside=bedrock_invoke.ASIDE,
    ),
    replies=ANTHROPIC_MESSAGES.replies,
    conversation=ANTHROPIC_MESSAGES.conversation,
    meter=bedrock_invoke.InvokeMeter,
    ending=bedrock_reply.ExceptionEnd,
    cap_field=bedrock_invoke.MAX_FIELD,
    half=bedrock_neutral.INVOKE,
    decoder=FrameDecoder,
    stream_type=EVENT_STREAM,
)


def _openai(name: str, title: str, path: str, task: Task) -> WireFormat:
    return replace(OPENAI_CHAT, name=name, title=title, path=path, half=None, task=task)


_IMAGES = Task(openai_media.read_images, openai_media.images_reply)
_TRANSCRIPTION = Task(openai_media.read_transcription, openai_media.transcription_reply)
OPENAI_IMAGES = _openai("openai_images", "OpenAI images", "/images/generations", _IMAGES)
OPENAI_IMAGE_EDITS = _openai("openai_image_edits", "OpenAI image edits", "/images/edits", _IMAGES)
OPENAI_IMAGE_VARIATIONS = _openai("openai_image_variations", "OpenAI image variations", "/images/variations", _IMAGES)
OPENAI_SPEECH = _openai(
    "openai_speech", "OpenAI speech", "/audio/speech", Task(openai_media.read_speech, openai_media.speech_reply)
)
OPENAI_TRANSCRIPTIONS = _openai(
    "openai_transcriptions", "OpenAI transcriptions", "/audio/transcriptions", _TRANSCRIPTION
)
OPENAI_TRANSLATIONS = _openai("openai_translations", "OpenAI translations", "/audio/translations", _TRANSCRIPTION)
OPENAI_MODERATIONS = _openai(
    "openai_moderations",
    "OpenAI moderations",
    "/moderations",
    Task(openai_media.read_moderation, openai_media.free_reply),
)
_GEMINI_TASK = Task(gemini_embeddings.read, gemini_embeddings.reply, gemini_embeddings.outgoing)
GEMINI_EMBED = replace(
    GEMINI,
    name="gemini_embed",
    title="Gemini embedContent",
    path=f"/v1beta/models/{MODEL}:embedContent",
    half=None,
    task=_GEMINI_TASK,
)
GEMINI_BATCH_EMBED = replace(
    GEMINI_EMBED,
    name="gemini_batch_embed",
    title="Gemini batchEmbedContents",
    path=f"/v1beta/models/{MODEL}:batchEmbedContents",
)
OPENAI_TASKS = (
    *(OPENAI_IMAGES, OPENAI_IMAGE_EDITS, OPENAI_IMAGE_VARIATIONS, OPENAI_SPEECH),
    *(OPENAI_TRANSCRIPTIONS, OPENAI_TRANSLATIONS, OPENAI_MODERATIONS),
)
"""What providers of OpenAI's family take as it is; nothing is translated to or from these."""

_ALL = (
    *OPENAI_TASKS,
    *(GEMINI_EMBED, GEMINI_BATCH_EMBED),
    *(OPENAI_CHAT, OPENAI_RESPONSES, OPENAI_COMPLETIONS, ANTHROPIC_MESSAGES, GEMINI, BEDROCK_CONVERSE, BEDROCK_INVOKE),
)
FORMATS: Mapping[str, WireFormat] = MappingProxyType({each.name: each for each in _ALL})
