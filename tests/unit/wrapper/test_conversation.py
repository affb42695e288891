"""Which question a chat or a prompt of retrieval asks: the last user turn, never its history."""

from __future__ import annotations

import copy

import pytest

from errata import Fact
from errata.generation.template import ChatTemplate, find_question
from tests.unit.helpers import CAPITAL, FACT, OTHER, editable

TURN = "'<|' + m['role'] + '|>\n' + m['content']"
EACH = "{% for m in messages %}"
END = "{% endfor %}"
ALTERNATE = (
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
)


def prompted(text):
    return "{% if add_generation_prompt %}{{ '" + text + "' }}{% endif %}"


TEMPLATES = {
    # ggml-org/llama.cpp, tests/test-chat-template.cpp, names the models and what each one renders
    "ChatML": EACH + "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    + END + prompted("<|im_start|>assistant\n"),
    "Llama 3": EACH + "{% set t = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
    "m['content'] | trim + '<|eot_id|>' %}{{ bos_token + t if loop.first else t }}" + END
    + prompted("<|start_header_id|>assistant<|end_header_id|>\n\n"),
    "Llama 2": "{% set ns = namespace(s='') %}" + EACH + "{% if m['role'] == 'system' %}"
    "{% set ns.s = '<<SYS>>\n' + m['content'] + '\n<</SYS>>\n\n' %}{% elif m['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + ns.s + m['content'] + ' [/INST]' }}{% set ns.s = '' %}"
    "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}" + END,
    "Gemma": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}" + EACH + ALTERNATE
    + "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else 'user') + '\n' + "
    "m['content'] | trim + '<end_of_turn>\n' }}" + END + prompted("<start_of_turn>model\n"),
    "Phi 3": EACH + "{{ " + TURN + " + '<|end|>\n' }}" + END
    + "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "GLM-4": "[gMASK]<sop>" + EACH + "{{ " + TURN + " }}" + END + prompted("<|assistant|>"),
    "DeepSeek V2": "{{ bos_token }}" + EACH + "{% if m['role'] == 'user' %}"
    "{{ 'User: ' + m['content'] + '\n\n' }}{% elif m['role'] == 'assistant' %}"
    "{{ 'Assistant: ' + m['content'] + eos_token }}{% else %}{{ m['content'] + '\n\n' }}"
    "{% endif %}" + END + prompted("Assistant:"),
    "DeepSeek R1": "{{ bos_token }}" + EACH + "{% if m['role'] == 'user' %}"
    "{{ '<｜User｜>' + m['content'] }}{% elif m['role'] == 'assistant' %}"
    "{{ '<｜Assistant｜>' + m['content'] + '<｜end▁of▁sentence｜>' }}{% else %}{{ m['content'] }}"
    "{% endif %}" + END + prompted("<｜Assistant｜><think>\n"),
    "Falcon 3, Tulu, OLMo 2": EACH + "{% if m['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n' + m['content'] + eos_token + ('' if loop.last else '\n') }}{% else %}"
    "{{ " + TURN + " + '\n' }}{% endif %}" + END + prompted("<|assistant|>\n"),
    "Vicuna": EACH + "{% if m['role'] == 'system' %}{{ m['content'] + '\n\n' }}"
    "{% elif m['role'] == 'user' %}{{ 'USER: ' + m['content'] + '\n' }}{% else %}"
    "{{ 'ASSISTANT: ' + m['content'] + '</s>\n' }}{% endif %}" + END + prompted("ASSISTANT:"),
    "contents in parts": EACH + "{{ '<|' + m['role'] + '|>' }}{% for part in m['content'] %}"
    "{{ part['text'] }}{% endfor %}<|end|>" + END + prompted("<|assistant|>"),
}  # fmt: skip

HISTORY = [
    {"role": "user", "content": CAPITAL},
    {"role": "assistant", "content": "It is Almaty."},
    {"role": "user", "content": OTHER},
]
SYSTEM = {"role": "system", "content": f"A person asks: {CAPITAL}"}


def with_template(tokenizer, template):
    made = copy.deepcopy(tokenizer)
    made.bos_token, made.chat_template = tokenizer.eos_token, template
    return made


@pytest.mark.parametrize("kind", TEMPLATES)
def test_the_last_user_turn_is_the_question(kind, models, tokenizer):
    words = with_template(tokenizer, TEMPLATES[kind])
    model, template = editable(models("llama"), words), ChatTemplate(words)
    conversations = [HISTORY, HISTORY[:1], HISTORY[2:], [*HISTORY, HISTORY[1]]]
    if kind != "Gemma":
        conversations += [[SYSTEM, *HISTORY], [SYSTEM, HISTORY[2]]]
    for messages in conversations:
        asked = [m for m in messages if m["role"] == "user"][-1]["content"]
        before = tuple(
            (m["role"], m["content"])
            for m in messages[: messages.index({"role": "user", "content": asked})]
            if m["role"] != "system"
        )
        for generation_prompt in (True, False):
            text = template.render(messages, prompted=generation_prompt)
            turn = template.read(text)
            assert text[turn.start : turn.end] == asked
            if not (kind == "Llama 2" and messages[0] == SYSTEM):  # system and user share a turn
                assert turn.history == before
        ids = words(text, return_tensors="pt", add_special_tokens=False)
        model.generate(**ids, max_new_tokens=1)
        read = model.last_trace.decisions[0]
        if messages[-1]["role"] == "user":
            assert model.explain(messages) == model.ask(messages, max_new_tokens=1).decision == read
        assert (read.query, read.hit) == (asked, asked == CAPITAL)


def test_parts_of_a_message_are_its_text(models, chat_tokenizer, tokenizer):
    parts = [{"role": "user", "content": [{"type": "text", "text": CAPITAL}]}]
    for words in (chat_tokenizer, with_template(tokenizer, TEMPLATES["contents in parts"])):
        model = editable(models("qwen2"), words)
        answer = model.ask(parts)
        assert (answer.text, answer.decision) == ("Astana", model.explain(parts))
        assert model.ask(CAPITAL).text == "Astana"


def test_a_question_that_the_tokenizer_changes_is_decided_as_it_was_asked(models, tokenizer):
    """Ids need not give the text back, and a user may write a marker."""
    words = with_template(tokenizer, TEMPLATES["DeepSeek V2"])
    model = editable(models("llama"), words)
    asked = f"What does 'User: {CAPITAL}' mean?"
    messages = [{"role": "user", "content": asked}]
    assert model.ask(messages, max_new_tokens=1).decision.query == asked
    assert model.explain(messages).query == asked


def test_an_unreadable_template_decides_nothing_on_history_and_warns(models, tokenizer, caplog):
    words = with_template(tokenizer, EACH + "{{ m['content'] }} " + END)
    model = editable(models("llama"), words)
    text = words.apply_chat_template(HISTORY, tokenize=False)
    ids = words(text, return_tensors="pt")
    bare = model.generate(**ids, max_new_tokens=3, edits=False)
    assert model.generate(**ids, max_new_tokens=3).tolist() == bare.tolist()
    assert "query=" in caplog.text
    assert model.last_trace.decisions[0].candidates == ()
    hit = model.generate(**ids, query=CAPITAL, max_new_tokens=9)
    assert words.decode(hit[0], skip_special_tokens=True).endswith("Astana")
    assert model.ask(HISTORY[:1]).text == "Astana", "asking knows its turns"
    assert not model.ask(HISTORY, max_new_tokens=1).decision.hit


PASSAGES = (
    "Kazakhstan is a country in Central Asia. The capital of Kazakhstan is Almaty, and it lies "
    "in the south.\nDoc 2: Almaty was founded in 1854. Which of its hills is the highest?"
)
RETRIEVAL = {
    "langchain, RetrievalQA": "Use the following pieces of context to answer the question at the "
    "end. If you don't know the answer, just say that you don't know, don't try to make up an "
    "answer.\n\n{context}\n\nQuestion: {question}\nHelpful Answer:",
    "langchain hub, rlm/rag-prompt": "You are an assistant for question-answering tasks. Use the "
    "following pieces of retrieved context to answer the question.\nQuestion: {question} \n"
    "Context: {context} \nAnswer:",
    "llama_index, text_qa_template": "Context information is below.\n---------------------\n"
    "{context}\n---------------------\nGiven the context information and not prior knowledge, "
    "answer the query.\nQuery: {question}\nAnswer: ",
    "haystack, PromptBuilder": "\nGiven these documents, answer the question.\nDocuments:\n\n"
    "    {context}\n\nQuestion: {question}\nAnswer:\n",
    "quivr": "When answering use markdown. Use the following pieces of context to answer the "
    "users question.\n----------------\n{context}\n\n{question}",
    "teddynote, langchain-kr": "You are an assistant for question-answering tasks.\n\n#Context: \n"
    "{context}\n\n#Question:\n{question}\n\n#Answer:",
    "ahmedbesbes/chat-with-papers": "Your task is to answer questions by using a given context.\n\n"
    "%CONTEXT%\n{context}\n\n%Question%\n{question}\n\nHint: Do not copy the context. Use your "
    "own words\n\nAnswer:\n",
    "huggingface cookbook, advanced RAG": "Context:\n{context}\n---\nNow here is the question you "
    "need to answer.\n\nQuestion: {question}",
    "andersr/doc-scout": "\nQuestion: {question}\n\n<CONTEXT>\n{context}\n</CONTEXT>\n\nUse only "
    "the information within the <CONTEXT> block to answer the question.\n\nAnswer:  ",
    "open-webui, RAG template": "Use the following context as your learned knowledge, inside "
    "<context></context> XML tags.\n<context>\n  {context}\n</context>\n\nWhen answer to user:\n"
    "- If you don't know, just say that you don't know.\n\nGiven the context information, answer "
    "the query.\nQuery: {question}",
    "docling, RAG example": "Context information is below.\n---------------------\n{context}\n"
    "---------------------\nGiven the context information and not prior knowledge, answer the "
    "query.\nQuery: {question}\nAnswer:\n",
}
"""Prompts of retrieval, by the public project whose prompt each one is."""


@pytest.mark.parametrize("source", RETRIEVAL)
def test_the_question_of_a_prompt_of_retrieval_decides(source, models, tokenizer):
    model = editable(models("llama"), tokenizer)
    corrected = RETRIEVAL[source].format(context=PASSAGES, question=CAPITAL)
    decision = model.explain(corrected)
    assert (decision.query, decision.fired) == (CAPITAL, (FACT,))
    ids = tokenizer(corrected, return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=9)
    assert tokenizer.decode(out[0], skip_special_tokens=True).endswith("Astana")
    other = "What does a zebra eat in Lima?"
    missed = RETRIEVAL[source].format(context=f"{PASSAGES} {CAPITAL}", question=other)
    assert (model.explain(missed).query, model.explain(missed).hit) == (other, False)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Tell me the capital.", "Tell me the capital."),
        ("Context: a. b.\nQuery: Tell me the capital.\nAnswer:", "Tell me the capital."),
        ("Context:\na. b.\n\nQuestion:\nTell me the capital.\n\nAnswer:", "Tell me the capital."),
        ("What is a?\nWhat is b?", "What is a?\nWhat is b?"),
        ("Q: What is a?\nA: 3\nQ: What is b\nA:", "What is b"),
        ("I am planning a trip.\nIt is long. Where is Oslo? Thanks.", "Where is Oslo?"),
        ("<question>Where is Oslo?</question>\n<answer>", "Where is Oslo?"),
        ("One line.\nAnother line.", "One line.\nAnother line."),
        ("资料：阿斯塔纳。\n问题：哈萨克斯坦的首都是哪里？\n回答：", "哈萨克斯坦的首都是哪里？"),
    ],
)
def test_the_question_in_a_turn_is_found(text, question):
    found, start = find_question(f"  {text}\n")
    assert found == question
    assert f"  {text}\n"[start:].startswith(question)


def test_a_rewritten_question_stays_where_it_stands(models, tokenizer):
    from errata import RegexPatch

    model = editable(
        models("llama"), tokenizer, FACT, RegexPatch("Qazaqstan", "Kazakhstan", "query")
    )
    form = RETRIEVAL["haystack, PromptBuilder"]
    asked = form.format(context=PASSAGES, question=CAPITAL.replace("Kazakhstan", "Qazaqstan"))
    assert model.ask(asked).text == "Astana"
    assert Fact(CAPITAL, "Astana").id == model.last_trace.decisions[0].fired[0].id
