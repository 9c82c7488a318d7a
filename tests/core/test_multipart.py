"""Forms: what is read, what is refused, and that nothing but the model's name is ever rewritten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.multipart import read_form

TYPE = "multipart/form-data; boundary=b0"
MODEL = b'--b0\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
FILE = (
    b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n'
    b"Content-Type: audio/mpeg\r\n\r\n\x00\xff\r\n--b\r\n\r\n"
)
END = b"--b0--\r\n"


@given(content=st.binary(max_size=200).filter(lambda c: b"--b0" not in c), model=st.text("abc/:.-", min_size=1))
def test_a_form_keeps_every_byte_but_the_model(content, model):
    after = b'--b0\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n' + content + b"\r\n" + END
    form = read_form(MODEL + after, TYPE)
    (file,) = form.files("file")
    assert form.content[file.start : file.end] == content
    assert form.texts() == {"model": "whisper"}
    assert form.with_model(model) == MODEL.replace(b"whisper", model.encode()) + after


def test_a_form_without_a_model_gets_one_in_front():
    rest = b'--b0\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\nabc\r\n' + END
    named = read_form(read_form(rest, TYPE).with_model("deployed"), TYPE)
    assert named.texts() == {"model": "deployed"}
    assert named.content.endswith(rest)
    (file,) = named.files("file")
    assert named.content[file.start : file.end] == b"abc"


def test_a_list_is_read_as_one():
    item = b'--b0\r\ncontent-disposition: form-data; name="include[]"\r\n\r\nlogprobs\r\n'
    form = read_form(MODEL + item + item + END, 'multipart/form-data; boundary="b0"')
    assert form.texts() == {"model": "whisper", "include[]": ["logprobs", "logprobs"]}


@pytest.mark.parametrize(
    ("content", "content_type", "says"),
    [
        (MODEL + MODEL + END, TYPE, "more than once"),
        (MODEL + FILE + FILE + END, TYPE, "more than once"),
        (b"preamble\r\n" + MODEL + END, TYPE, "begin with its boundary"),
        (MODEL + END + b"epilogue", TYPE, "does not end"),
        (MODEL + b"--b0", TYPE, "does not end"),
        (MODEL[:-2], TYPE, "broken off"),
        (MODEL.replace(b'"model"', b"model") + END, TYPE, "plain name"),
        (MODEL.replace(b'"model"', b'"model"; name="file"') + END, TYPE, "plain name"),
        (MODEL.replace(b'"model"', b"\"x\"; filename*=utf-8''a") + END, TYPE, "plain name"),
        (MODEL.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + END, TYPE, "content-type"),
        (MODEL.replace(b"whisper", b"\xff") + END, TYPE, "UTF-8"),
        (MODEL.replace(b"\r\n\r\n", b"\r\n" + b"x" * 2000 + b"\r\n\r\n") + END, TYPE, "end of its head"),
        (MODEL * 65 + END, TYPE, "more than once"),
        (MODEL + END, "multipart/form-data", "plain boundary"),
        (MODEL + END, "multipart/form-data; boundary=b0; boundary=b1", "plain boundary"),
        (MODEL + END, "multipart/mixed; boundary=b0", "plain boundary"),
        (MODEL + END, "multipart/form-data; boundary=" + "b" * 71, "plain boundary"),
        (b"", TYPE, "begin with its boundary"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(content, content_type, says):
    with pytest.raises(FieldRefused, match=says):
        read_form(content, content_type).texts()


def test_a_form_has_a_bounded_number_of_parts():
    item = b'--b0\r\ncontent-disposition: form-data; name="x[]"\r\n\r\n1\r\n'
    assert len(read_form(item * 64 + END, TYPE).parts) == 64
    with pytest.raises(FieldRefused, match="at most 64"):
        read_form(item * 65 + END, TYPE)
