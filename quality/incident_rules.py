"""The rules for incidents."""

from datetime import date

from quality.expr import Call, Expr, Field, either, every, total, when
from quality.rule import Rule, Severity
from quality.shared_rules import present, shared

PERSONS = tuple(map(Field, ("women", "girls", "men", "boys", "unknown")))
LARGEST_COUNT = 5000
MANY_PERSONS = 500
EARLIEST = date(1946, 1, 1)


def first_of(precision: str, *starts: Expr) -> Call:
    """Where the date is known to a precision, it is the first day of such a period."""
    return when(Field("date_precision").eq(precision), every(*starts))


def _rule(code: str, severity: Severity, check: Expr, *, en: str, fr: str, ar: str) -> Rule:
    return Rule(f"incident.{code}", severity, "incident", check, en, fr, ar)


_DAY, _MONTH, _WEEKDAY = (Field("occurred_on").part(part) for part in ("day", "month", "weekday"))
_ADMIN1_COUNTRY = Field("admin1").lookup("country_of_admin1")

INCIDENT_RULES: tuple[Rule, ...] = (
    _rule(
        "country_not_monitored",
        "refuse",
        Field("country").among("countries"),
        en="The country is not one of the monitored countries: correct its ISO code.",
        fr="Le pays n'est pas un pays suivi : corrigez son code ISO.",
        ar="هذا البلد ليس من البلدان المرصودة: صحّح رمزه وفق ISO.",
    ),
    _rule(
        "admin1_unknown",
        "refuse",
        present("admin1", _ADMIN1_COUNTRY.missing().negated()),
        en="The admin 1 code is not an OCHA P-code of a monitored country: correct it, or leave it empty.",
        fr="Le code admin 1 n'est pas un P-code OCHA d'un pays suivi : corrigez-le ou laissez-le vide.",
        ar="رمز المستوى الإداري الأول ليس من رموز أوتشا (P-code) لبلد مرصود: صحّحه أو اتركه فارغا.",
    ),
    _rule(
        "admin1_of_other_country",
        "refuse",
        either(_ADMIN1_COUNTRY.missing(), _ADMIN1_COUNTRY.eq(Field("country"))),
        en="The admin 1 area lies in another country: correct the area or the country.",
        fr="La zone admin 1 appartient à un autre pays : corrigez la zone ou le pays.",
        ar="المنطقة الإدارية الأولى تقع في بلد آخر: صحّح المنطقة أو البلد.",
    ),
    _rule(
        "before_1946",
        "refuse",
        Field("occurred_on").at_least(EARLIEST),
        en="The date is before 1946: correct the year.",
        fr="La date est antérieure à 1946 : corrigez l'année.",
        ar="التاريخ سابق لعام 1946: صحّح السنة.",
    ),
    _rule(
        # One day of slack: recorded_on is a day in UTC, and east of it the local day begins earlier.
        "after_recording",
        "refuse",
        Field("occurred_on").days_after(Field("recorded_on")).at_most(1),
        en="The incident lies after the day on which it was recorded: correct the date.",
        fr="L'incident est postérieur au jour de son enregistrement : corrigez la date.",
        ar="تاريخ الحادث لاحق ليوم تسجيله: صحّح التاريخ.",
    ),
    _rule(
        "week_not_monday",
        "refuse",
        first_of("week", _WEEKDAY.eq(1)),
        en="Only the week is known: give the Monday of that week.",
        fr="Seule la semaine est connue : indiquez le lundi de cette semaine.",
        ar="الأسبوع وحده معروف: أدخل تاريخ يوم الاثنين من ذلك الأسبوع.",
    ),
    _rule(
        "month_not_first",
        "refuse",
        first_of("month", _DAY.eq(1)),
        en="Only the month is known: give the first day of that month.",
        fr="Seul le mois est connu : indiquez le premier jour de ce mois.",
        ar="الشهر وحده معروف: أدخل اليوم الأول من ذلك الشهر.",
    ),
    _rule(
        "quarter_not_first",
        "refuse",
        first_of("quarter", _DAY.eq(1), either(*(_MONTH.eq(month) for month in (1, 4, 7, 10)))),
        en="Only the quarter is known: give the first day of January, April, July or October.",
        fr="Seul le trimestre est connu : indiquez le 1er janvier, avril, juillet ou octobre.",
        ar="الربع السنوي وحده معروف: أدخل اليوم الأول من يناير أو أبريل أو يوليو أو أكتوبر.",
    ),
    _rule(
        "year_not_first",
        "refuse",
        first_of("year", _DAY.eq(1), _MONTH.eq(1)),
        en="Only the year is known: give the first of January of that year.",
        fr="Seule l'année est connue : indiquez le 1er janvier de cette année.",
        ar="السنة وحدها معروفة: أدخل الأول من يناير من تلك السنة.",
    ),
    _rule(
        "persons_out_of_range",
        "refuse",
        every(*(each.between(0, LARGEST_COUNT) for each in PERSONS)),
        en="A number of persons is below 0 or above 5,000: correct it, or report a pattern.",
        fr="Un nombre de personnes est inférieur à 0 ou supérieur à 5 000 : corrigez-le ou signalez un schéma.",
        ar="عدد الأشخاص أقل من 0 أو أكبر من 5000: صحّحه أو أبلغ عن نمط.",
    ),
    _rule(
        "persons_none",
        "refuse",
        total(*PERSONS).at_least(1),
        en="No person is counted: enter at least one, under 'unknown' if sex and age are not known.",
        fr="Aucune personne n'est comptée : indiquez-en au moins une, sous « inconnu » si besoin.",
        ar="لم يُحتسب أي شخص: أدخل شخصا واحدا على الأقل، تحت «غير معروف» عند الحاجة.",
    ),
    _rule(
        "persons_unusually_many",
        "warn",
        total(*PERSONS).at_most(MANY_PERSONS),
        en="More than 500 persons in one incident: check the number, or report a pattern.",
        fr="Plus de 500 personnes dans un seul incident : vérifiez le nombre ou signalez un schéma.",
        ar="أكثر من 500 شخص في حادث واحد: تحقّق من العدد أو أبلغ عن نمط.",
    ),
    _rule(
        "deaths_out_of_range",
        "refuse",
        Field("deaths").between(0, LARGEST_COUNT),
        en="The number of deaths is below 0 or above 5,000: correct it.",
        fr="Le nombre de décès est inférieur à 0 ou supérieur à 5 000 : corrigez-le.",
        ar="عدد الوفيات أقل من 0 أو أكبر من 5000: صحّحه.",
    ),
    _rule(
        "deaths_more_than_persons",
        "warn",
        Field("deaths").at_most(total(*PERSONS)),
        en="More deaths than persons: check both numbers.",
        fr="Plus de décès que de personnes : vérifiez les deux nombres.",
        ar="عدد الوفيات أكبر من عدد الأشخاص: تحقّق من العددين.",
    ),
    _rule(
        "forms_unspecified",
        "warn",
        Field("forms").has("unspecified").negated(),
        en="A form of violence is 'unspecified': state the form if it is known.",
        fr="Une forme de violence est « non précisé » : indiquez la forme si elle est connue.",
        ar="ورد «غير محدد» كشكل للعنف: اذكر الشكل إن كان معروفا.",
    ),
    _rule(
        "pregnancy_without_women",
        "warn",
        when(
            Field("forms").has("forced_pregnancy"),
            total(*(Field(n) for n in ("women", "girls", "unknown"))).at_least(1),
        ),
        en="Forced pregnancy, but no woman or girl is counted: check form and numbers.",
        fr="Grossesse forcée, mais aucune femme ni fille n'est comptée : vérifiez la forme et les nombres.",
        ar="حمل قسري ولم تُحتسب أي امرأة أو فتاة: تحقّق من الشكل والأعداد.",
    ),
    _rule(
        "codes_unknown",
        "refuse",
        every(
            Field("date_precision").among("DatePrecision"),
            Field("forms").among("Form"),
            Field("party_category").among("PartyCategory"),
            Field("setting").among("Setting"),
            Field("tactic").among("Tactic"),
            Field("nexus").among("Nexus"),
            Field("verification").among("Verification"),
            Field("source_kind").among("SourceKind"),
            Field("source_reliability").among("SourceReliability"),
            Field("sharing_basis").among("SharingBasis"),
            Field("sharing_scope").among("SharingScope"),
        ),
        en="A coded field holds a code that is not in its list: choose a code of the list.",
        fr="Un champ codé contient un code absent de sa liste : choisissez un code de la liste.",
        ar="حقل مرمّز يحتوي على رمز غير موجود في قائمته: اختر رمزا من القائمة.",
    ),
    _rule(
        "verified_without_primary_source",
        "refuse",
        when(Field("verification").eq("verified"), Field("primary_sources").at_least(1)),
        en="Verified without a primary source: enter the primary sources, or set it to pending verification.",
        fr="Vérifié sans source primaire : indiquez les sources primaires ou remettez en attente de vérification.",
        ar="مُتحقَّق منه بلا مصدر أولي: أدخل المصادر الأولية أو أعده إلى انتظار التحقق.",
    ),
    _rule(
        "verification_not_to_share",
        "warn",
        either(Field("verification").eq("verified"), Field("verification").eq("report_pending_verification")),
        en="Out of scope or found not to have occurred: retract it rather than share it.",
        fr="Hors champ ou non survenu : retirez-le au lieu de le partager.",
        ar="خارج النطاق أو تبيّن أنه لم يقع: اسحبه بدلا من مشاركته.",
    ),
    _rule(
        "eyewitness_without_source",
        "warn",
        when(
            Field("un_eyewitness").eq(True),
            either(Field("verification").eq("verified"), Field("primary_sources").at_least(1)),
        ),
        en="Seen by United Nations staff, but neither verified nor with a primary source: enter the source.",
        fr="Constaté par du personnel des Nations Unies, mais ni vérifié ni sourcé : indiquez la source primaire.",
        ar="شهده موظفو الأمم المتحدة لكنه غير مُتحقَّق منه وبلا مصدر أولي: أدخل المصدر.",
    ),
    _rule(
        "sources_out_of_range",
        "refuse",
        every(Field("primary_sources").between(0, LARGEST_COUNT), Field("secondary_sources").between(0, LARGEST_COUNT)),
        en="A number of sources is below 0 or above 5,000: correct it.",
        fr="Un nombre de sources est inférieur à 0 ou supérieur à 5 000 : corrigez-le.",
        ar="عدد المصادر أقل من 0 أو أكبر من 5000: صحّحه.",
    ),
    _rule(
        "credibility_out_of_range",
        "refuse",
        Field("information_credibility").between(1, 6),
        en="Credibility goes from 1 to 6: choose one, 6 if it cannot be judged.",
        fr="La crédibilité va de 1 à 6 : choisissez une valeur, 6 si elle ne peut être jugée.",
        ar="المصداقية من 1 إلى 6: اختر قيمة، و6 إن تعذّر الحكم.",
    ),
    _rule(
        "service_data_without_consent",
        "refuse",
        when(Field("source_kind").eq("service_provider"), Field("sharing_basis").eq("informed_consent")),
        en="A service provider's information may be shared with informed consent only: ask for it, or do not share.",
        fr="L'information d'un prestataire ne se partage qu'avec consentement éclairé : demandez-le ou ne partagez pas.",
        ar="لا تُشارَك معلومات مقدّم الخدمات إلا بموافقة مستنيرة: اطلبها أو لا تشارك.",
    ),
    _rule(
        "consent_for_public",
        "warn",
        when(Field("sharing_basis").eq("informed_consent"), Field("sharing_scope").ne("public")),
        en="Consent with the public as audience: make sure that the survivor agreed to publication.",
        fr="Consentement avec diffusion publique : assurez-vous que la personne a accepté la publication.",
        ar="موافقة مع نشر للعموم: تأكّد من أن الناجية أو الناجي وافق على النشر.",
    ),
    *shared("incident"),
)
