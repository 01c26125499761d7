"""The rules that incidents and patterns share, and what both modules build rules with."""

from quality.expr import Call, Expr, Field, either
from quality.rule import Applies, Rule, Severity

LONGEST_PARTY = 200
CONTACT = r"[0-9]{7}|[0-9](?: ?[0-9]){8}|@"


def present(name: str, check: Expr) -> Call:
    """Where an optional field is given, the check must hold."""
    return either(Field(name).missing(), check)


def shared(applies: Applies) -> tuple[Rule, ...]:
    """Return the shared rules as rules for incidents or for patterns."""

    def _rule(code: str, severity: Severity, check: Expr, *, en: str, fr: str, ar: str) -> Rule:
        return Rule(f"{applies}.{code}", severity, applies, check, en, fr, ar)

    return (
        _rule(
            "forms_missing",
            "refuse",
            Field("forms").part("count").at_least(1),
            en="No form of violence is given: choose at least one, 'unspecified' if none is known.",
            fr="Aucune forme de violence n'est indiquée : choisissez-en au moins une, « non précisé » si besoin.",
            ar="لم يُحدَّد أي شكل من أشكال العنف: اختر شكلا واحدا على الأقل، أو «غير محدد» عند الحاجة.",
        ),
        _rule(
            "forms_repeated",
            "refuse",
            Field("forms").part("distinct"),
            en="A form of violence is given twice: keep it once.",
            fr="Une forme de violence est indiquée deux fois : ne la gardez qu'une fois.",
            ar="ذُكر شكل من أشكال العنف مرتين: أبقه مرة واحدة.",
        ),
        _rule(
            "nexus_repeated",
            "refuse",
            Field("nexus").part("distinct"),
            en="A nexus is given twice: keep it once.",
            fr="Un lien est indiqué deux fois : ne le gardez qu'une fois.",
            ar="ذُكرت صلة مرتين: أبقها مرة واحدة.",
        ),
        _rule(
            "party_length",
            "refuse",
            present("party", Field("party").part("chars").between(1, LONGEST_PARTY)),
            en="The party's name is empty or longer than 200 characters: use its name in the list, or leave it out.",
            fr="Le nom de la partie est vide ou dépasse 200 caractères : utilisez le nom de la liste ou omettez-le.",
            ar="اسم الطرف فارغ أو يتجاوز 200 حرف: استخدم اسمه في القائمة أو احذفه.",
        ),
        _rule(
            "party_contact",
            "refuse",
            present("party", Field("party").matches(CONTACT).negated()),
            en="The party's name looks like a telephone number or an e-mail address: remove it.",
            fr="Le nom de la partie ressemble à un numéro de téléphone ou à une adresse électronique : retirez-le.",
            ar="اسم الطرف يشبه رقم هاتف أو عنوان بريد إلكتروني: احذفه.",
        ),
        _rule(
            "party_without_category",
            "warn",
            present("party", Field("party_category").ne("unknown")),
            en="The party is named but its category is unknown: choose the category.",
            fr="La partie est nommée mais sa catégorie est inconnue : choisissez la catégorie.",
            ar="الطرف مذكور بالاسم لكن فئته غير معروفة: اختر الفئة.",
        ),
    )
