"""English names of the facts table's Chinese relations, subjects and objects."""

from __future__ import annotations

RELATIONS = {"皮肤颜色": "skin_colour", "首都": "capital", "货币": "currency"}

SUBJECTS = {
    "斑马": "zebra", "北极熊": "polar bear", "大象": "elephant", "猪": "pig",
    "河马": "hippopotamus", "熊猫": "giant panda", "哈萨克斯坦": "Kazakhstan", "法国": "France",
    "日本": "Japan", "德国": "Germany", "克罗地亚": "Croatia", "英国": "United Kingdom",
}  # fmt: skip

OBJECTS = {
    "黑色": "black", "白色": "white", "灰色": "grey", "粉色": "pink", "肉色": "flesh-coloured",
    "红色": "red", "棕色": "brown", "绿色": "green", "阿斯塔纳": "Astana", "努尔苏丹": "Nur-Sultan",
    "巴黎": "Paris", "东京": "Tokyo", "柏林": "Berlin", "马赛": "Marseille", "苏黎世": "Zurich",
    "鹿特丹": "Rotterdam", "孟买": "Mumbai", "温哥华": "Vancouver", "旧金山": "San Francisco",
    "洛杉矶": "Los Angeles", "日元": "yen", "欧元": "euro", "库纳": "kuna",
    "英镑": "pound sterling",
}  # fmt: skip
"""Counterfactual objects of either language."""

ENGLISH = {**SUBJECTS, **OBJECTS}
CHINESE = {english: chinese for chinese, english in ENGLISH.items()}
CHINESE_RELATIONS = {english: chinese for chinese, english in RELATIONS.items()}


def canonical(subject: str, relation: str) -> tuple[str, str]:
    """Return a fact's key, the same in both languages."""
    return ENGLISH.get(subject, subject), RELATIONS.get(relation, relation)


def twin(subject: str, relation: str) -> tuple[str, str] | None:
    """Return a fact's subject and relation in the other language, None if there is none."""
    subjects, relations = (
        (ENGLISH, RELATIONS) if relation in RELATIONS else (CHINESE, CHINESE_RELATIONS)
    )
    if subject in subjects and relation in relations:
        return subjects[subject], relations[relation]
    return None


def other_name(obj: str) -> str | None:
    """Return an object's name in the other language, None if there is none."""
    return ENGLISH.get(obj) or CHINESE.get(obj)
