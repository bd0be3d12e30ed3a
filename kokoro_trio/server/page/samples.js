// The text that the page shows at first, in the language of the voice.

const SAMPLES = {
  "en-us":
    "Good evening, this is Kokoro. I have a table for four at 7:30 p.m. on Saturday, by the window. " +
    "The menu is $48 a head, and the rain should be gone by then. Shall I book it?",
  "en-gb":
    "Good morning, you're through to Kokoro. The 10:45 to York leaves from platform 3, and a return is £32.50. " +
    "Shall I hold two seats for you?",
  es: "Buenas tardes, soy Kokoro. Tengo una mesa para cuatro el sábado a las 20:30, junto a la ventana. ¿Se la reservo?",
  "fr-fr":
    "Bonsoir, ici Kokoro. Il me reste une table pour quatre samedi à 19 h 30, près de la fenêtre. Je vous la réserve ?",
  hi: "नमस्ते, मैं कोकोरो हूँ। शनिवार की शाम चार लोगों के लिए खिड़की के पास एक मेज़ खाली है। क्या मैं उसे आपके नाम कर दूँ?",
  it: "Buonasera, sono Kokoro. Sabato alle 19:30 ho un tavolo per quattro, vicino alla finestra. Lo prenoto?",
  ja: "こんばんは、ココロです。土曜日の夜、窓際に四名様のお席がございます。ご予約なさいますか。",
  "pt-br":
    "Boa noite, aqui é a Kokoro. Tenho uma mesa para quatro no sábado, às 19h30, perto da janela. Posso reservar?",
  zh: "晚上好，我是心心。星期六晚上靠窗有一张四人桌。要帮您订下来吗？",
};

/** A text for a voice of this language; American English if there is none. */
export function sampleFor(language) {
  return SAMPLES[language] ?? SAMPLES["en-us"];
}

export function isSample(text) {
  return Object.values(SAMPLES).includes(text);
}
