"""Pure: what a sentence is read as."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.text.normalization import Reading, read_out, readings
from tests.support.processes import output_of

AMERICAN = [
    # Abbreviations
    ("Dr. Smith met Mr. Jones and Prof. Wu.", "Doctor Smith met Mr. Jones and Professor Wu."),
    ("Mrs. Lee and Ms. Kim", "Mrs. Lee and Ms. Kim"),
    ("We live at 12 Main St. in St. Louis.", "We live at twelve Main Street in Saint Louis."),
    ("He came to St. Mary's on 5th Ave. then.", "He came to Saint Mary's on fifth Avenue then."),
    ("Turn into Mulholland Dr. and stop.", "Turn into Mulholland Drive and stop."),
    ("Apples, pears, etc.", "Apples, pears, etc. ."),
    ("Fruit, e.g. pears, i.e. the green ones.", "Fruit, for example pears, that is the green ones."),
    ("It takes approx. 5 days.", "It takes approximately five days."),
    ("See No. 5 and Fig. 3.", "See Number five and Figure three."),
    ("Acme Inc. vs. Bar Co.", "Acme Incorporated versus Bar Company."),
    ("At 5 p.m. or 7 a.m. on time.", "At five P.M or seven A.M on time."),
    ("The U.S. has it.", "The U.S has it."),
    ("She has a Ph.D. in art.", "She has a P.H.D in art."),
    ("On Mon. or in Feb. then", "On Monday or in February then"),
    ("Coffee w/ milk, w/o sugar", "Coffee with milk, without sugar"),
    ("min. 3, max. 5 per dept.", "minimum three, maximum five per department."),
    # Acronyms and capitals
    ("NASA asked the FBI.", "NASA asked the F.B.I ."),
    ("An API, a CPU, a URL and HTML here", "An A.P.I, a C.P.U, a U.R.L and H.T.M.L here"),
    ("Two APIs and three PDFs there", "Two A.P.I's and three P.D.F's there"),
    ("GPT-4 on an H100 with MP3s", "G.P.T four on an H one hundred with M.P three's"),
    ("COVID-19 spread in 2019.", "COVID nineteen spread in twenty nineteen."),
    ("5G, 4K, B2B and x86", "five G, four K, B two B and X eighty-six"),
    ("STOP! THIS IS IMPORTANT.", "stop! this is important."),
    ("THE FBI TOLD US NOW.", "the F.B.I told us now."),
    ("It is plan B.", "It is plan B ."),
    ("a 10-minute walk", "a ten minute walk"),
    # Drawn-out words
    ("It is sooooo good", "It is so good"),
    ("Nooooo, yesss, hmmm.", "No, yes, hmm."),
    ("Whaaaat? That is cooool.", "What? That is cool."),
    ("helloooo there, pleeease", "hello there, please"),
    # Numbers
    ("42 pears and 7 plums", "forty-two pears and seven plums"),
    ("I have 1,234 apples.", "I have one thousand two hundred thirty-four apples."),
    ("-5 and −7 degrees", "minus five and minus seven degrees"),
    ("3.14 and 0.05 and .5", "three point one four and zero point zero five and point five"),
    ("1/2 and ½ and 3/4", "one half and one half and three quarters"),
    ("2½ cups and 1 1/2 spoons", "two and a half cups and one and a half spoons"),
    ("pages 5-10 and 5–10", "pages five to ten and five to ten"),
    ("the 1st and the 22nd", "the first and the twenty-second"),
    ("Chapter IV of Henry VIII", "Chapter four of Henry the eighth"),
    ("World War II ended.", "World War two ended."),
    ("In 1999, 2024 and 1905.", "In nineteen ninety-nine, twenty twenty-four and nineteen oh five."),
    ("in 2000 and 2007", "in two thousand and two thousand seven"),
    ("the 2000s and the '90s", "the two thousands and the nineties"),
    ("the 1980s and the 80s", "the nineteen eighties and the eighties"),
    ("1500 apples in 1500", "one thousand five hundred apples in fifteen hundred"),
    (
        "from 2019–2020 or 2024-25",
        "from twenty nineteen to twenty twenty or twenty twenty-four to twenty-five",
    ),
    ("The score was 3-2.", "The score was three to two."),
    ("version 3.11.2 or v2.0", "version three point eleven point two or version two point zero"),
    ("Python 3.11 is out", "Python three point eleven is out"),
    ("Call (555) 123-4567 now", "Call five five five, one two three, four five six seven now"),
    ("Call +1 (555) 123-4567", "Call plus one, five five five, one two three, four five six seven"),
    ("Call 555-0199 now", "Call five five five, zero one nine nine now"),
    ("Dial 911 now", "Dial nine one one now"),
    ("in CA 90210", "in C.A nine zero two one zero"),
    ("the host 192.168.1.1 is up", "the host one ninety-two dot one sixty-eight dot one dot one is up"),
    ("Order 12345678 is ready.", "Order one two three four five six seven eight is ready."),
    ("agent 007", "agent zero zero seven"),
    ("1.5e-3", "one point five times ten to the power of minus three"),
    ("2.5 million people", "two point five million people"),
    ("3.5M users and 10k more", "three point five million users and ten K more"),
    ("8/10 and 10/10", "eight out of ten and ten out of ten"),
    ("a ratio of 16:9 or 1:1", "a ratio of sixteen to nine or one to one"),
    # Money
    ("It costs $3.50.", "It costs three dollars and fifty cents."),
    ("$1 and $0.99", "one dollar and ninety-nine cents"),
    (
        "It raised $1.2B and $2.5 million",
        "It raised one point two billion dollars and two point five million dollars",
    ),
    (
        "£20, €1.50, ¥500 and ₹100",
        "twenty pounds, one euro and fifty cents, five hundred yen and one hundred rupees",
    ),
    ("£1.01", "one pound and one penny"),
    ("USD 5 or 5 USD", "five U.S dollars or five U.S dollars"),
    ("$5-10 each", "five to ten dollars each"),
    ("-$5 or US$20", "minus five dollars or twenty U.S dollars"),
    ("$5/month and 50¢", "five dollars per month and fifty cents"),
    ("5 € and 5€", "five euros and five euros"),
    # Measures
    ("20% and 5-10 %", "twenty percent and five to ten percent"),
    ("5‰", "five per mille"),
    ("-5°F is colder than 20 °C", "minus five degrees Fahrenheit is colder than twenty degrees Celsius"),
    ("5km, 10 kg, 3.5 GB", "five kilometers, ten kilograms, three point five gigabytes"),
    ("60 mph or 100 km/h", "sixty miles per hour or one hundred kilometers per hour"),
    ("He is 5'10\" tall", "He is five feet ten inches tall"),
    ("6ft and 20 m²", "six feet and twenty square meters"),
    ("5 GHz in 10ms", "five gigahertz in ten milliseconds"),
    ("1 TB, 3 lbs, 72 dpi", "one terabyte, three pounds, seventy-two dots per inch"),
    ("1 km and 1.5 km", "one kilometer and one point five kilometers"),
    ("100 MB/s", "one hundred megabytes per second"),
    # Dates and times
    ("On 2024-01-05 then", "On January fifth, twenty twenty-four then"),
    ("On 01/05/2024 then", "On January fifth, twenty twenty-four then"),
    ("On 25/12/2024 then", "On December twenty-fifth, twenty twenty-four then"),
    ("January 5, 2024", "January fifth, twenty twenty-four"),
    ("Jan. 5 or Jan 5 at noon", "January fifth or January fifth at noon"),
    ("5 January 2024", "the fifth of January twenty twenty-four"),
    ("the 5th of May", "the fifth of May"),
    ("June 3-5, 2024", "June third to fifth, twenty twenty-four"),
    ("Sept. 2023", "September twenty twenty-three"),
    ("5:30 and 17:45", "five thirty and seventeen forty-five"),
    ("5:05 pm or 12:00", "five oh five P.M or twelve o'clock"),
    ("5pm and 10:30:15", "five P.M and ten thirty and fifteen seconds"),
    ("9am-5pm and 5:30-6:30", "nine A.M to five P.M and five thirty to six thirty"),
    ("a 9-5 job", "a nine to five job"),
    # Mathematics and signs
    ("2+2=4", "two plus two equals four"),
    ("2 + 2 = 4 and 5 - 3 = 2", "two plus two equals four and five minus three equals two"),
    ("3×4, 10÷2 and x²", "three times four, ten divided by two and X squared"),
    ("y ≤ 4, z ≥ 5, x ≈ 3", "y at most four, z at least five, x approximately three"),
    ("3 < 4 > 2", "three less than four greater than two"),
    ("±2 and √2", "plus or minus two and square root of two"),
    ("salt & pepper", "salt and pepper"),
    ("me @ home, ~5 of them", "me at home, about five of them"),
    ("A → B", "A. to B"),
    ("© 2024 Foo™ and Bar®", "copyright twenty twenty-four Foo and Bar"),
    ("and/or, 24/7, 9/11", "and or, twenty-four seven, nine eleven"),
    ("C++, C# and Q&A sessions", "C plus plus, C sharp and Q and A. sessions"),
    ("R&D at AT&T here", "R and D at A.T and T here"),
    ("I/O and TCP/IP work", "I.O and T.C.P I.P work"),
    ("#1 and # 2", "number one and hash two"),
    # Addresses and names of things
    ("See https://www.example.com/path?x=1 now.", "See example dot com slash path now."),
    ("See example.com.", "See example dot com."),
    ("Mail john.doe@example.com please", "Mail john dot doe at example dot com please"),
    ("Open main.py in /usr/local/bin now", "Open main dot pie in slash user slash local slash bin now"),
    ("in C:\\Users there", "in C colon backslash Users there"),
    ("@openai and #MachineLearning", "at openai and hashtag Machine Learning"),
    ("snake_case and foo()", "snake case and foo"),
    # As assistants write
    ("between 10/12 and 10/15", "between ten twelve and ten fifteen"),
    ("2 tsp. sugar for 25-30 min.", "two teaspoons sugar for twenty-five to thirty minutes."),
    ("It's 6 ft. 2 in. tall", "It's six feet two inches tall"),
    ("Call 1-800-555-1234", "Call one, eight zero zero, five five five, one two three four"),
    (
        "4.5/5 stars by 1,200+ users",
        "four point five out of five stars by one thousand two hundred plus users",
    ),
    ("Mon-Fri 9am-5pm", "Monday to Friday nine A.M to five P.M"),
    (
        "ISBN 978-3-16-148410-0",
        "I.S.B.N nine seven eight, three, one six, one four eight four one zero, zero",
    ),
    ("a range of $10k-$20k", "a range of ten thousand to twenty thousand dollars"),
    ("10m x 20m = 200 m²", "ten meters by twenty meters equals two hundred square meters"),
    ("an HTTP 404 in room 101", "an H.T.T.P four oh four in room one oh one"),
    ("Boeing 747 and RTX 4090", "Boeing seven forty-seven and R.T.X forty ninety"),
    ("Llama-3.1-8B and GPT-4o", "Llama three point one eight B and G.P.T four O"),
    ("max_retries=5 in config.yaml now", "max retries equals five in config dot yammel now"),
    ("he calls os.path.join() here", "he calls os dot path dot join here"),
    ("~$5–$10 each", "about five to ten dollars each"),
    ("a 50-50 split", "a fifty fifty split"),
    ("30%-40% off", "thirty to forty percent off"),
    ("-40°C/-40°F", "minus forty degrees Celsius slash minus forty degrees Fahrenheit"),
    ("Rs. 500 or $0.05 per min", "five hundred rupees or five cents per minute"),
    ("born c. 1850 or in 1066", "born circa eighteen fifty or in ten sixty-six"),
    (
        "9.8 m/s^2 and 3×10^8 m/s",
        "nine point eight meters per second squared and three times ten to the power "
        "of eight meters per second",
    ),
    ("He works in IT in the US now", "He works in I.T in the U.S now"),
    ("5/8 in and ½ km or 1/4 mi", "five eighths inch and one half kilometer or one quarter mile"),
    ("2 + 2 = 4, 10⁻³", "two plus two equals four, ten to the power of minus three"),
    ("a $5 bill for 5GB/month", "a five dollar bill for five gigabytes per month"),
    ("12 King Jr. Dr. and St. John's St.", "twelve King Junior Drive and Saint John's Street."),
    ("a + b = c", "A. plus b equals c"),
    ("The Sun. And Sun. at 5", "The Sun. And Sunday at five"),
    ("CO2 and UTF-8 and MP3/MP4", "C.O two and U.T.F eight and M.P three M.P four"),
    ("Queen Elizabeth II and Louis XIV", "Queen Elizabeth the second and Louis the fourteenth"),
    ("Class C and Part I of Act V", "Class C and Part one of Act five"),
    ("the Part I like, as Mary I say", "the Part I like, as Mary I say"),
    ("Sat, Jan 6 and Wed, at noon", "Saturday, January sixth and Wednesday, at noon"),
    ("Rocky III and I agree", "Rocky three and I agree"),
    (
        "10:00–11:30 a.m. on 2024/03/15 then",
        "ten to eleven thirty A.M on March fifteenth, twenty twenty-four then",
    ),
    # What stays
    ("don`t and it´s", "don't and it's"),
    ("don’t “quote” «me» — please…", "don’t “quote” «me» — please…"),
    ("No!!! Really?!", "No!!! Really?!"),
    ("[5](/fˈIv/) is 5", "[5](/fˈIv/) is five"),
]
BRITISH = [
    ("I have 120 apples.", "I have one hundred and twenty apples."),
    ("On 05/01/2024 then", "On the fifth of January twenty twenty-four then"),
    ("in 2007", "in two thousand and seven"),
    ("£3.50", "three pounds and fifty pence"),
]

SPANISH = [
    ("Tengo 1.234,50 euros.", "Tengo mil doscientos treinta y cuatro coma cinco cero euros."),
    ("3,5 litros o 3.14", "tres coma cinco litros o tres coma uno cuatro"),
    ("1.000.000 de personas", "un millón de personas"),
    ("Cuesta 3,50 € o $5 o 1 €", "Cuesta tres euros con cincuenta o cinco dólares o un euro"),
    ("$2,5 millones", "dos coma cinco millones de dólares"),
    ("el 25 % o 25%", "el veinticinco por ciento o veinticinco por ciento"),
    ("a -5 °C", "a menos cinco grados Celsius"),
    ("el 05/01/2024", "el cinco de enero de dos mil veinticuatro"),
    ("el 5 de enero de 2024", "el cinco de enero de dos mil veinticuatro"),
    ("a las 17:45 y a la 1:00", "a las diecisiete cuarenta y cinco y a la una en punto"),
    ("el 1º, la 1ª y el 3er piso", "el primero, la primera y el tercer piso"),
    ("21 km, 1 libra, 2,5 GB", "veintiún kilómetros, una libra, dos coma cinco gigabaits"),
    ("al 612 345 678", "al seis uno dos, tres cuatro cinco, seis siete ocho"),
    ("juan@ejemplo.es", "juan arroba ejemplo punto es"),
    ("Vea www.ejemplo.com", "Vea ejemplo punto com"),
    ("El Sr. López, p. ej., etc.", "El señor López, por ejemplo, etcétera."),
    ("2+2=4", "dos más dos igual a cuatro"),
    ("nº 5 y v2.0", "número cinco y versión dos punto cero"),
    ("5-10 días", "cinco a diez días"),
    ("Felipe VI y el siglo XXI", "Felipe sexto y el siglo veintiuno"),
    ("200 personas y 1/2 kg", "doscientas personas y un medio kilogramo"),
]
FRENCH = [
    ("J'ai 1 234,50 euros", "J'ai mille deux cent trente-quatre virgule cinq zéro euros"),
    ("10 500 personnes", "dix mille cinq cents personnes"),
    ("3,5 litres ou 3.14", "trois virgule cinq litres ou trois virgule un quatre"),
    ("3,50 € ou 5 $ ou 1 €", "trois euros cinquante ou cinq dollars ou un euro"),
    ("2,5 millions d'euros", "deux virgule cinq millions d'euros"),
    ("25 % à -5 °C", "vingt-cinq pour cent à moins cinq degrés Celsius"),
    ("le 01/05/2024", "le premier mai deux mille vingt-quatre"),
    (
        "à 17:45, à 17h45 et à 8h",
        "à dix-sept heures quarante-cinq, à dix-sept heures quarante-cinq et à huit heures",
    ),
    ("le 1er, la 1re et le 2e", "le premier, la première et le deuxième"),
    ("5 km, 1 h, 2,5 Go", "cinq kilomètres, une heure, deux virgule cinq gigaoctets"),
    ("le 06 12 34 56 78", "le zéro six, un deux, trois quatre, cinq six, sept huit"),
    ("jean@exemple.fr", "jean arobase exemple point fr"),
    ("M. Dupont, Mme Durand, etc.", "monsieur Dupont, madame Durand, et cetera."),
    ("n° 5", "numéro cinq"),
    ("au XXe siècle, Louis XIV", "au vingtième siècle, Louis quatorze"),
    ("en 1999", "en mille neuf cent quatre-vingt-dix-neuf"),
    ("aujourd‘hui", "aujourd'hui"),
]
ITALIAN = [
    ("Ho 1.234,50 euro", "Ho milleduecentotrentaquattro virgola cinque zero euro"),
    ("3,5 litri o 3.14", "tre virgola cinque litri o tre virgola uno quattro"),
    ("1.000.000 di persone", "un milione di persone"),
    ("Costa 3,50 € o $5 o 1 €", "Costa tre euro e cinquanta o cinque dollari o un euro"),
    ("il 25 % a -5 °C", "il venticinque per cento a meno cinque gradi Celsius"),
    ("il 01/05/2024", "il primo maggio duemilaventiquattro"),
    ("alle 17:45 e alle 5:00", "alle diciassette e quarantacinque e alle cinque"),
    ("il 1º, la 1ª e il 1° maggio", "il primo, la prima e il primo maggio"),
    ("5 km, 1 ora, 2,5 GB", "cinque chilometri, una ora, due virgola cinque gigabait"),
    ("il 06 1234 5678", "il zero sei, uno due tre quattro, cinque sei sette otto"),
    ("nel XX secolo, Vittorio Emanuele II", "nel ventesimo secolo, Vittorio Emanuele secondo"),
    ("anna@esempio.it", "anna chiocciola esempio punto it"),
    ("Il Sig. Rossi e il Dott. Verdi, ecc.", "Il signor Rossi e il dottor Verdi, eccetera."),
    ("2+2=4", "due più due uguale a quattro"),
]
PORTUGUESE = [
    ("Tenho 1.234,50 reais", "Tenho mil duzentos e trinta e quatro vírgula cinco zero reais"),
    ("3,5 litros ou 3.14", "três vírgula cinco litros ou três vírgula um quatro"),
    ("Custa R$ 3,50 ou US$ 5", "Custa três reais e cinquenta centavos ou cinco dólares americanos"),
    ("R$ 2,5 milhões", "dois vírgula cinco milhões de reais"),
    ("25% a -5 °C", "vinte e cinco por cento a menos cinco graus Celsius"),
    ("em 01/05/2024", "em primeiro de maio de dois mil e vinte e quatro"),
    (
        "às 17:45, às 17h30 e às 5:00",
        "às dezessete e quarenta e cinco, às dezessete e trinta e às cinco horas",
    ),
    ("o 1º e a 21ª", "o primeiro e a vigésima primeira"),
    ("5 km, 2 libras, 2 h", "cinco quilômetros, duas libras, duas horas"),
    ("(11) 91234-5678", "um um, nove um dois três quatro, cinco seis sete oito"),
    ("200 pessoas com Pedro II", "duzentas pessoas com Pedro segundo"),
    ("CEP 01310-100", "CEP zero um três um zero, um zero zero"),
    ("ana@exemplo.com.br", "ana arroba exemplo ponto com ponto br"),
    ("O Sr. Silva, p. ex., etc.", "O senhor Silva, por exemplo, etcétera."),
    ("2+2=4", "dois mais dois igual a quatro"),
]
HINDI = [
    ("₹1,00,000 और 3.5 लीटर", "100000 रुपए और 3 दशमलव 5 लीटर"),
    ("₹3.50 या $5", "3 रुपए 50 पैसे या 5 डॉलर"),
    ("12,34,567 लोग", "1234567 लोग"),
    ("25% और -5 °C", "25 प्रतिशत और माइनस 5 डिग्री सेल्सियस"),
    ("05/01/2024 को", "5 जनवरी 2024 को"),
    ("17:45 बजे और 5:00", "17 बजकर 45 मिनट और 5 बजे"),
    ("5 km और 2.5 GB", "5 किलोमीटर और 2 दशमलव 5 गीगाबाइट"),
    ("+91 98765 43210 पर", "प्लस 9 1, 9 8 7 6 5, 4 3 2 1 0 पर"),
    ("a@b.in देखें", "a ऐट b डॉट in देखें"),
    ("डॉ. राम", "डॉक्टर राम"),
    ("2+2=4", "2 प्लस 2 बराबर 4"),
    ("5-10 दिन और 1/2", "5 से 10 दिन और आधा"),
    ("२५", "25"),
]
ELSEWHERE = [
    (language, text, spoken)
    for language, cases in zip("efhip", (SPANISH, FRENCH, HINDI, ITALIAN, PORTUGUESE), strict=True)
    for text, spoken in cases
]


@pytest.mark.parametrize(("text", "spoken"), AMERICAN)
def test_american_is_read(text: str, spoken: str) -> None:
    assert read_out(text, "a") == spoken


@pytest.mark.parametrize(("text", "spoken"), BRITISH)
def test_british_is_read(text: str, spoken: str) -> None:
    assert read_out(text, "b") == spoken


@pytest.mark.parametrize(("language", "text", "spoken"), ELSEWHERE)
def test_elsewhere_is_read(language: str, text: str, spoken: str) -> None:
    assert read_out(text, language) == spoken


def test_each_word_of_the_client_has_its_reading() -> None:
    text = "On January 5, 2024 at 5 p.m. call (555) 123-4567"
    assert [(text[one.start_char : one.end_char], one.spoken) for one in readings(text, "a")] == [
        ("January", "January"),
        ("5,", "fifth,"),
        ("2024", "twenty twenty-four"),
        ("5", "five"),
        ("p.m.", "P.M"),
        ("(555)", "five five five,"),
        ("123-4567", "one two three, four five six seven"),
    ]


def test_where_the_order_changes_one_reading_covers_it() -> None:
    assert readings("$2.5 million", "a") == [Reading(0, 12, "two point five million dollars")]


@pytest.mark.parametrize("language", ["j", "z", "", "en-us"])
def test_nothing_is_known_of_other_languages(language: str) -> None:
    assert readings("5 km", language) == []


TRICKY = """
cat Kokoro 5 -5 $3.50 1,000 5th U.S. don't ... — ( ] " @ / # % & + = a.b foo@x.com http://a.b/c IV ² ½ ٣ Ⅻ
soooo NASA ABCDEFG I A °C km p.m. 5pm 10:30 2024-01-05 01/02/03 +1 555 (555) St. No. _ a_b C:\\x ' ’ é ५ 和
① １ e5 USD € -> v1.2 Jan 5- – .. ~ : GPT-4o MP3s [a](/b/) [5](/f/) ™ | * **b** 3:5 1/2 x² R$ 1.000,5 नमस्ते
"""
PIECES = TRICKY.split()
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=7).flatmap(
    lambda pieces: st.sampled_from([" ".join(pieces), "".join(pieces)])
)
MARKUP = re.compile(r"\[[^\]\s]{1,60}\]\(/[^)\s]{0,200}/\)")


@given(TEXTS, st.sampled_from("abefhip"))
def test_readings_ascend_and_leave_markup_alone(text: str, language: str) -> None:
    found = readings(text, language)
    bounds = [bound for reading in found for bound in (reading.start_char, reading.end_char)]
    assert bounds == sorted(bounds)
    assert all(0 <= reading.start_char < reading.end_char <= len(text) for reading in found)
    for markup in MARKUP.finditer(text):
        assert all(one.end_char <= markup.start() or one.start_char >= markup.end() for one in found)


@given(TEXTS, st.sampled_from("abefhip"))
def test_no_word_vanishes(text: str, language: str) -> None:
    found = readings(text, language)
    read = {index: one.spoken for one in found for index in range(one.start_char, one.end_char)}
    for word in re.finditer(r"\S+", text):
        if any(map(str.isalnum, word[0])):
            spoken = "".join(read.get(index, text[index]) for index in range(*word.span()))
            assert any(map(str.isalnum, spoken))


@given(TEXTS, st.sampled_from("ab"))
def test_no_figure_is_left_to_others_in_english(text: str, language: str) -> None:
    spoken = read_out(MARKUP.sub(" ", text), language)
    assert not any(char.isdigit() for char in spoken)


REPEATED = """
1 1/ 1- +1 (1 o aB a. a@ x² ://a http://a / \\ [a](/ 5' 2024- I ½ A A. a_ * soooo 1e5 1'1 a… 5\" «
"""
REPEATED_WORDS = ["1 ", "1, ", "$1 ", "Jan 5 ", "10:30 ", "IV ", "555 ", "12 34 ", "St. ", "\u0301", "\n"]


@pytest.mark.parametrize("language", ["a", "f", "h"])
@pytest.mark.parametrize("unit", REPEATED.split() + REPEATED_WORDS)
def test_no_thousand_characters_take_long(unit: str, language: str) -> None:
    text = (unit * 1_000)[:1_000]
    readings("5 sooo (555) 123-4567", language)
    started = time.process_time()
    readings(text, language)
    # At most 0.05 s where this was written; a pattern that backtracks takes many seconds.
    assert time.process_time() - started < 1


def test_importing_the_module_is_cheap() -> None:
    code = "import sys, kokoro_trio.text.normalization; print({'spacy', 'torch'} & set(sys.modules))"
    assert output_of("-c", code).strip() == "set()"
