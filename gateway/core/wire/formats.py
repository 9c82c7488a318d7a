"""Every wire format that calls of a model can have, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.core.wire import openai_chat, openai_prompt, openai_reply, openai_trace
from gateway.core.wire.format import Conversation, Replies, Requests, WireFormat

OPENAI_CHAT = WireFormat(
    name="openai_chat",
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
)

FORMATS: Mapping[str, WireFormat] = MappingProxyType({each.name: each for each in (OPENAI_CHAT,)})
