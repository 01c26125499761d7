"""The rules for patterns."""

from quality.expr import Expr, Field, either, every, total, when
from quality.incident_rules import EARLIEST, LARGEST_COUNT
from quality.rule import Rule, Severity
from quality.shared_rules import present, shared

LONGEST_PERIOD = 5 * 366


def _rule(code: str, severity: Severity, check: Expr, *, en: str, fr: str, ar: str) -> Rule:
    return Rule(f"pattern.{code}", severity, "pattern", check, en, fr, ar)


_START, _END, _SOURCES = Field("period_start"), Field("period_end"), Field("reporting_sources")

PATTERN_RULES: tuple[Rule, ...] = (
    _rule(
        "period_reversed",
        "refuse",
        _START.at_most(_END),
        en="The period ends before it starts: correct its two dates.",
        fr="La période se termine avant de commencer : corrigez ses deux dates.",
        ar="تنتهي الفترة قبل أن تبدأ: صحّح تاريخيها.",
    ),
    _rule(
        "period_too_long",
        "refuse",
        _END.days_after(_START).at_most(LONGEST_PERIOD),
        en="The period is longer than five years: report shorter periods.",
        fr="La période dépasse cinq ans : signalez des périodes plus courtes.",
        ar="تتجاوز الفترة خمس سنوات: أبلغ عن فترات أقصر.",
    ),
    _rule(
        "before_1946",
        "refuse",
        _START.at_least(EARLIEST),
        en="The period starts before 1946: correct the year.",
        fr="La période commence avant 1946 : corrigez l'année.",
        ar="تبدأ الفترة قبل عام 1946: صحّح السنة.",
    ),
    _rule(
        "after_recording",
        "refuse",
        _START.days_after(Field("recorded_on")).at_most(1),
        en="The period starts after the day on which it was recorded: correct the dates.",
        fr="La période commence après le jour de son enregistrement : corrigez les dates.",
        ar="تبدأ الفترة بعد يوم تسجيلها: صحّح التواريخ.",
    ),
    _rule(
        "ends_after_recording",
        "warn",
        _END.days_after(Field("recorded_on")).at_most(1),
        en="The period ends after the day on which it was recorded: report it again when it has ended.",
        fr="La période se termine après le jour de son enregistrement : signalez-la de nouveau à son terme.",
        ar="تنتهي الفترة بعد يوم تسجيلها: أبلغ عنها مجددا عند انتهائها.",
    ),
    _rule(
        "areas_missing",
        "refuse",
        Field("areas").part("count").at_least(1),
        en="No area is given: enter at least one P-code or country.",
        fr="Aucune zone n'est indiquée : entrez au moins un P-code ou un pays.",
        ar="لم تُحدَّد أي منطقة: أدخل رمز منطقة (P-code) أو بلدا واحدا على الأقل.",
    ),
    _rule(
        "areas_unknown",
        "refuse",
        Field("areas").among("areas"),
        en="An area is neither an OCHA P-code nor the ISO code of a monitored country: correct it.",
        fr="Une zone n'est ni un P-code OCHA ni le code ISO d'un pays suivi : corrigez-la.",
        ar="إحدى المناطق ليست رمز أوتشا (P-code) ولا رمز ISO لبلد مرصود: صحّحها.",
    ),
    _rule(
        "areas_repeated",
        "refuse",
        Field("areas").part("distinct"),
        en="An area is given twice: keep it once.",
        fr="Une zone est indiquée deux fois : ne la gardez qu'une fois.",
        ar="ذُكرت منطقة مرتين: أبقها مرة واحدة.",
    ),
    _rule(
        "forms_unspecified",
        "warn",
        either(_SOURCES.eq(0), Field("forms").has("unspecified").negated()),
        en="Sources report it, but a form of violence is 'unspecified': state the form if it is known.",
        fr="Des sources le rapportent, mais une forme est « non précisé » : indiquez-la si elle est connue.",
        ar="تُبلغ عنه مصادر لكن شكلا من العنف «غير محدد»: اذكره إن كان معروفا.",
    ),
    _rule(
        "codes_unknown",
        "refuse",
        every(
            Field("forms").among("Form"),
            Field("party_category").among("PartyCategory"),
            Field("scale").among("PatternScale"),
            Field("tactic").among("Tactic"),
            Field("nexus").among("Nexus"),
            Field("verification").among("Verification"),
            Field("source_kind").among("SourceKind"),
        ),
        en="A coded field holds a code that is not in its list: choose a code of the list.",
        fr="Un champ codé contient un code absent de sa liste : choisissez un code de la liste.",
        ar="حقل مرمّز يحتوي على رمز غير موجود في قائمته: اختر رمزا من القائمة.",
    ),
    _rule(
        "prevalence_out_of_range",
        "refuse",
        present("prevalence", Field("prevalence").between(0, 3)),
        en="Prevalence goes from 0 to 3: correct it, or leave it empty where it is not coded.",
        fr="La prévalence va de 0 à 3 : corrigez-la ou laissez-la vide si elle n'est pas codée.",
        ar="معدل الانتشار من 0 إلى 3: صحّحه أو اتركه فارغا إن لم يُرمَّز.",
    ),
    _rule(
        "sources_out_of_range",
        "refuse",
        every(_SOURCES.between(0, LARGEST_COUNT), Field("silent_sources").between(0, LARGEST_COUNT)),
        en="A number of sources is below 0 or above 5,000: correct it.",
        fr="Un nombre de sources est inférieur à 0 ou supérieur à 5 000 : corrigez-le.",
        ar="عدد المصادر أقل من 0 أو أكبر من 5000: صحّحه.",
    ),
    _rule(
        "prevalence_without_source",
        "refuse",
        present("prevalence", either(Field("prevalence").at_most(0), _SOURCES.at_least(1))),
        en="Prevalence above 0, but no source reports it: enter the number of sources that do.",
        fr="Prévalence supérieure à 0 sans source qui la rapporte : indiquez le nombre de sources.",
        ar="معدل الانتشار أكبر من 0 ولا مصدر يُبلغ عنه: أدخل عدد المصادر.",
    ),
    _rule(
        "source_of_prevalence_zero",
        "warn",
        present("prevalence", either(Field("prevalence").at_least(1), _SOURCES.eq(0))),
        en="Sources report it, but prevalence is 0: check both.",
        fr="Des sources le rapportent, mais la prévalence est 0 : vérifiez les deux.",
        ar="تُبلغ عنه مصادر لكن معدل الانتشار 0: تحقّق من الاثنين.",
    ),
    _rule(
        "no_source_read",
        "warn",
        total(_SOURCES, Field("silent_sources")).at_least(1),
        en="No source was read: enter the sources that were, also those that report nothing.",
        fr="Aucune source n'a été lue : indiquez celles qui l'ont été, même sans signalement.",
        ar="لم يُقرأ أي مصدر: أدخل المصادر التي قُرئت، حتى التي لا تُبلغ عن شيء.",
    ),
    _rule(
        "scale_without_source",
        "warn",
        either(Field("scale").eq("not_assessed"), _SOURCES.at_least(1)),
        en="The scale is assessed, but no source reports the pattern: enter the number of sources.",
        fr="L'ampleur est évaluée, mais aucune source ne rapporte le schéma : indiquez le nombre de sources.",
        ar="قُيّم النطاق ولا مصدر يُبلغ عن النمط: أدخل عدد المصادر.",
    ),
    _rule(
        "verified_without_source",
        "warn",
        when(Field("verification").eq("verified"), _SOURCES.at_least(1)),
        en="Verified, but no source reports the pattern: enter the number of sources.",
        fr="Vérifié, mais aucune source ne rapporte le schéma : indiquez le nombre de sources.",
        ar="مُتحقَّق منه ولا مصدر يُبلغ عن النمط: أدخل عدد المصادر.",
    ),
    *shared("pattern"),
)
