// The ready-made questions.

import { getLanguage } from "../shared/language.js";

/** A [label, question] pair for each language. `tiny`: vedette-tiny, which knows English only, can answer it too. */
const QUESTIONS = [
  { en: ["Describe", "What do you see?"], zh: ["描述", "你看到了什么?请简短回答。"], tiny: true },
  { en: ["Count", "How many objects are there?"], zh: ["计数", "画面中有多少个物体?"], tiny: true },
  { en: ["Leftmost", "What is on the left?"], zh: ["最左边", "最左边是什么?"], tiny: true },
  { en: ["Rightmost", "What is on the right?"], zh: ["最右边", "最右边是什么?"], tiny: true },
  { en: ["A dog?", "Is there a dog?"], zh: ["有狗吗", "有狗吗?"], tiny: true },
  {
    en: ["People", "How many people are there, and what is each of them doing?"],
    zh: ["人员", "有几个人?每个人在做什么?"],
  },
  { en: ["Read text", "Read all text in the picture, line by line."], zh: ["读文字", "逐行读出画面中的所有文字。"] },
  {
    en: ["Danger", "Is anything here dangerous for people? Begin with yes or no, then name it in one sentence."],
    zh: ["危险", "画面中有对人危险的情况吗?先回答是或否,再用一句话说明。"],
  },
  { en: ["Fire or smoke", "Is there fire or smoke? Begin with yes or no."], zh: ["烟火", "有火或烟吗?先回答是或否。"] },
  {
    en: ["Protective gear", "Is anyone here without a helmet or a safety vest? Begin with yes or no, then say who."],
    zh: ["防护装备", "有人没戴安全帽或没穿反光衣吗?先回答是或否,再说明是谁。"],
  },
  {
    en: ["Path clear?", "Is the path ahead clear? Begin with yes or no, then name the obstacle."],
    zh: ["道路畅通?", "前方道路畅通吗?先回答是或否,再说明有什么障碍。"],
  },
];

/**
 * [label, question] pairs for a model, in the language of the page.
 * @param {string | null} modelName
 */
export function readyQuestions(modelName) {
  const isTiny = modelName === "vedette-tiny";
  return QUESTIONS.filter(({ tiny }) => tiny || !isTiny).map((each) => {
    const [label, question] = each[getLanguage()];
    return [label, isTiny ? each.en[1] : question];
  });
}
