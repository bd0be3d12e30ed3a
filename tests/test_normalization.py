"""Pure: what a sentence is read as."""

import pytest

from kokoro_trio.text.normalization import Reading, read_out, readings

AMERICAN = [
    # Abbreviations
    ("Dr. Smith met Mr. Jones and Prof. Wu.", "Doctor Smith met Mister Jones and Professor Wu."),
    ("Mrs. Lee and Ms. Kim", "Missis Lee and Miz Kim"),
    ("We live at 12 Main St. in St. Louis.", "We live at twelve Main Street in Saint Louis."),
    ("He came to St. Mary's on 5th Ave. then.", "He came to Saint Mary's on fifth Avenue then."),
    ("Turn into Mulholland Dr. and stop.", "Turn into Mulholland Drive and stop."),
    ("Apples, pears, etc.", "Apples, pears, et cetera."),
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
    ("3×4, 10÷2 and x²", "three times four, ten divided by two and x squared"),
    ("y ≤ 4, z ≥ 5, x ≈ 3", "y at most four, z at least five, x approximately three"),
    ("3 < 4 > 2", "three less than four greater than two"),
    ("±2 and √2", "plus or minus two and square root of two"),
    ("salt & pepper", "salt and pepper"),
    ("me @ home, ~5 of them", "me at home, about five of them"),
    ("A → B", "A to B"),
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


@pytest.mark.parametrize(("text", "spoken"), AMERICAN)
def test_american_is_read(text: str, spoken: str) -> None:
    assert read_out(text, "a") == spoken


@pytest.mark.parametrize(("text", "spoken"), BRITISH)
def test_british_is_read(text: str, spoken: str) -> None:
    assert read_out(text, "b") == spoken


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
