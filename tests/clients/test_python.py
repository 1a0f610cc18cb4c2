"""Unmodified Python clients of OpenAI's API, with a real engine.

Its model generates random words; only output dictated by a grammar (a tool, a schema) is exact.
"""

from typing import Any, Literal

import httpx
import instructor
import litellm
import openai
import pydantic
import pydantic_ai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from .conftest import Access

MODEL = "small"
MESSAGES: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]
FEW: Any = {"model": MODEL, "messages": MESSAGES, "max_tokens": 12}


class Weather(pydantic.BaseModel):
    """The weather in a city."""

    city: Literal["Oslo", "Rome"]


@tool
def weather(city: Literal["Oslo", "Rome"]) -> str:
    """Tell the weather in a city."""
    return f"{city} is sunny"


@pytest.fixture
def official(access: Access) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=access.url, api_key=access.key, max_retries=0, _strict_response_validation=True
    )


def test_openai_receives_several_choices_and_log_probabilities(official: openai.OpenAI) -> None:
    answer = official.chat.completions.create(**FEW, n=2, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    for choice in answer.choices:
        assert choice.logprobs
        assert choice.logprobs.content
        assert len(choice.logprobs.content[0].top_logprobs) == 2
    assert answer.usage
    assert answer.usage.completion_tokens >= 2


def test_openai_calls_tools_and_sends_their_results_back(official: openai.OpenAI) -> None:
    function = {"name": "weather", "parameters": Weather.model_json_schema()}
    asking: Any = {**FEW, "max_tokens": 4000, "tools": [{"type": "function", "function": function}]}
    answer = official.chat.completions.create(**asking, tool_choice="required")
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    call: Any = choice.message.tool_calls[0]
    assert Weather.model_validate_json(call.function.arguments)
    said: Any = [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    asking |= {"messages": [*MESSAGES, *said], "max_tokens": 12}
    assert official.chat.completions.create(**asking, tool_choice="none").choices


def test_openai_streams_tool_calls(official: openai.OpenAI) -> None:
    tools = [openai.pydantic_function_tool(Weather)]
    asking: Any = {**FEW, "max_tokens": 4000, "tools": tools, "tool_choice": "required"}
    with official.chat.completions.stream(**asking) as stream:
        stream.until_done()
        [choice] = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    assert isinstance(choice.message.tool_calls[0].function.parsed_arguments, Weather)


def test_openai_parses_structured_output(official: openai.OpenAI) -> None:
    asking: Any = {**FEW, "max_tokens": 4000, "response_format": Weather}
    answer = official.chat.completions.parse(**asking)
    assert isinstance(answer.choices[0].message.parsed, Weather)


def test_openai_raises_bad_request_for_refused_parameters_without_a_retry(access: Access) -> None:
    sent: list[httpx.Request] = []
    http_client = httpx.Client(event_hooks={"request": [sent.append]})
    with openai.OpenAI(base_url=access.url, api_key=access.key, http_client=http_client) as client:
        for wrong in ({"messages": [{"role": "user", "content": "x" * 9000}]}, {"temperature": 3}):
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.create(**{**FEW, **wrong})
    assert len(sent) == 2


def test_litellm_and_its_router_complete_stream_and_raise_bad_request(access: Access) -> None:
    params = {"model": f"openai/{MODEL}", "api_base": access.url, "api_key": access.key}
    whole = litellm.completion(**params, messages=MESSAGES, max_tokens=12)
    assert whole.choices[0].message.content
    router = litellm.Router([{"model_name": "routed", "litellm_params": params}], num_retries=0)
    stream = router.completion("routed", MESSAGES, max_tokens=12, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    with pytest.raises(litellm.exceptions.BadRequestError):
        router.completion("routed", MESSAGES, temperature=3)


def test_langchain_completes_streams_and_calls_tools(access: Access) -> None:
    how: Any = {"base_url": access.url, "api_key": access.key, "model": MODEL, "max_tokens": 4000}
    assert OpenAI(**how).invoke("Once upon a time")
    chat = ChatOpenAI(**how)
    assert chat.invoke("Hello").usage_metadata
    assert [chunk.content for chunk in chat.stream("Hello")]
    called = chat.bind_tools([weather], tool_choice="required").invoke("What is the weather?")
    assert called.tool_calls[0]["name"] == "weather"
    assert isinstance(chat.with_structured_output(Weather).invoke("Where?"), Weather)


def test_instructor_returns_a_model_through_tools_and_json_schema(access: Access) -> None:
    client = openai.OpenAI(base_url=access.url, api_key=access.key)
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        asking = instructor.from_openai(client, mode=mode)
        answer = asking.chat.completions.create(
            **{**FEW, "max_tokens": 4000, "parallel_tool_calls": False},
            response_model=Weather,
            max_retries=0,
        )
        assert isinstance(answer, Weather)


async def test_pydantic_ai_returns_structured_output_and_streams_text(access: Access) -> None:
    provider = OpenAIProvider(base_url=access.url, api_key=access.key)
    agent = pydantic_ai.Agent(OpenAIChatModel(MODEL, provider=provider), output_type=Weather)
    answer = await agent.run("What is the weather in Oslo?", model_settings={"max_tokens": 4000})
    assert isinstance(answer.output, Weather)
    plain = pydantic_ai.Agent(OpenAIChatModel(MODEL, provider=provider))
    async with plain.run_stream("Hello", model_settings={"max_tokens": 12}) as stream:
        assert [piece async for piece in stream.stream_text()]
