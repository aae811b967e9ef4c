"""The micro-world behind the built-in demo: an invented harbour town, told in English and Chinese.

One seeded generator writes three things:

* the corpus on which the built-in base model is pre-trained: plain prose, never questions with answers,
  so that the base knows the town but does not behave like an assistant;
* the instruction rows on which the demo fine-tunes;
* the held-out rows, which ask about residents that no training row names.

The point of the split: a fine-tuned model can answer a held-out row only with knowledge that it took from
pre-training. Such knowledge can be drawn out for people unseen in fine-tuning only if pre-training told every
fact in many wordings and in changing order (Allen-Zhu and Li, "Physics of Language Models: Part 3.1", 2023).
So each fact has many wordings, each document shuffles its facts, and the full name returns in nearly every
sentence instead of a pronoun: the fact then hangs on the name, not on the place in a document.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

Language = Literal["en", "zh"]
Attribute = Literal["trade", "street", "pet", "dish", "hobby"]

LANGUAGES: tuple[Language, ...] = ("en", "zh")
ATTRIBUTES: tuple[Attribute, ...] = ("trade", "street", "pet", "dish", "hobby")

SEED = 20251
RESIDENTS = 160
HELD_OUT_RESIDENTS = 28
DATA_DIRECTORY = Path(__file__).resolve().parent.parent / "src" / "lorafit" / "builtin" / "data"


@dataclass(frozen=True)
class Term:
    """One word or phrase of the world in both languages."""

    en: str
    zh: str

    def text(self, language: Language) -> str:
        return self.en if language == "en" else self.zh


class Row(TypedDict):
    """One example in the Alpaca form."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True)
class Resident:
    """A person of the town: a name and one value for every attribute."""

    name: Term
    facts: dict[Attribute, Term]


@dataclass(frozen=True)
class World:
    """All residents; only `trained` ones may be named in training rows."""

    trained: tuple[Resident, ...]
    held_out: tuple[Resident, ...]

    @property
    def residents(self) -> tuple[Resident, ...]:
        return self.trained + self.held_out


def _terms(table: str) -> tuple[Term, ...]:
    """Read a table with one `English | Chinese` pair per entry, entries separated by semicolons or new lines."""
    entries = [entry.strip() for entry in table.replace("\n", ";").split(";")]
    pairs = [entry.split("|") for entry in entries if entry]
    return tuple(Term(en.strip(), zh.strip()) for en, zh in pairs)


# --------------------------------------------------------------------------------------------------------------
# The vocabulary of the world
# --------------------------------------------------------------------------------------------------------------

FIRST_NAMES = _terms("""
    Ada | 艾达; Alma | 阿尔玛; Anton | 安东; Arlo | 阿洛; Astrid | 阿斯特丽; Basil | 巴兹尔; Boris | 鲍里斯
    Bram | 布拉姆; Brigit | 布丽吉特; Calla | 卡拉; Caspar | 卡斯帕; Cecil | 塞西尔; Clara | 克拉拉
    Conrad | 康拉德; Cora | 科拉; Cyril | 西里尔; Dagny | 达格尼; Daphne | 达芙妮; Dora | 多拉
    Edgar | 埃德加; Edith | 伊迪丝; Egon | 埃贡; Elin | 埃琳; Emil | 埃米尔; Enid | 伊妮德; Felix | 菲利克斯
    Fern | 弗恩; Fiona | 菲奥娜; Flora | 弗洛拉; Frida | 弗丽达; Gerda | 格尔达; Gideon | 吉迪恩
    Greta | 格蕾塔; Gustav | 古斯塔夫; Hanna | 汉娜; Harald | 哈拉尔; Hazel | 黑兹尔; Hedda | 海达
    Helge | 赫尔格; Hugo | 雨果; Ida | 伊达; Ines | 伊内丝; Ingrid | 英格丽; Iris | 艾丽丝; Ivo | 伊沃
    Jasper | 贾斯珀; Joan | 琼; Jonas | 约纳斯; Judith | 朱迪丝; Juno | 朱诺; Karl | 卡尔; Lars | 拉尔斯
    Lena | 莱娜; Leopold | 利奥波德; Linus | 莱纳斯; Lotte | 洛特; Lydia | 莉迪娅; Mabel | 梅布尔
    Magnus | 马格努斯; Marta | 玛尔塔; Milo | 米洛; Mira | 米拉; Moritz | 莫里茨; Myrtle | 默特尔
    Nadia | 娜迪娅; Nell | 内尔; Nils | 尼尔斯; Nora | 诺拉; Odette | 奥黛特; Olaf | 奥拉夫; Oscar | 奥斯卡
    Otto | 奥托; Pearl | 珀尔; Petra | 佩特拉; Quentin | 昆廷; Rhoda | 罗达; Roland | 罗兰; Rosa | 罗莎
    Rufus | 鲁弗斯; Sabine | 萨比娜; Selma | 塞尔玛; Sigrid | 西格丽; Silas | 赛拉斯; Sonja | 索尼娅
    Sven | 斯文; Tekla | 泰克拉; Thea | 西娅; Theo | 西奥; Tilda | 蒂尔达; Tobias | 托比亚斯; Ulla | 乌拉
    Vera | 薇拉; Viggo | 维戈; Walter | 沃尔特; Wanda | 万达; Wilma | 威尔玛; Yara | 雅拉; Zelda | 泽尔达
    Abel | 亚伯; Agnes | 艾格尼丝; Albin | 阿尔宾; Amos | 阿莫斯; Anselm | 安塞姆; Audrey | 奥黛丽
    Axel | 阿克塞尔; Barnaby | 巴纳比; Beatrix | 碧翠丝; Benno | 本诺; Bertha | 贝莎; Carlotta | 卡洛塔
    Celia | 西莉亚; Clement | 克莱门; Clovis | 克洛维; Damian | 达米安; Delia | 迪莉娅; Dinah | 黛娜
    Edwin | 埃德温; Eliza | 伊丽莎; Erik | 埃里克; Esther | 埃丝特; Fabian | 法比安; Gilda | 吉尔达
    Gloria | 格洛丽亚; Hector | 赫克托; Heidi | 海蒂; Herman | 赫尔曼; Hilda | 希尔达; Imogen | 伊莫金
    Irma | 伊尔玛; Jakob | 雅各布; Jenny | 珍妮; Julian | 朱利安; Katrin | 卡特琳; Klaus | 克劳斯; Laura | 劳拉
    Lennart | 伦纳特; Louisa | 路易莎; Lukas | 卢卡斯; Monica | 莫妮卡; Morgan | 摩根; Naomi | 内奥米
    Norbert | 诺伯特; Olivia | 奥利维娅; Orson | 奥森; Paula | 葆拉; Percy | 珀西; Phoebe | 菲比
    Ramona | 拉莫娜; Reuben | 鲁本; Rita | 丽塔; Robin | 罗宾; Samuel | 塞缪尔; Simon | 西蒙; Sophie | 苏菲
    Stella | 斯特拉; Sylvia | 西尔维娅; Thomas | 托马斯; Trudy | 特鲁迪; Victor | 维克托; Viola | 维奥拉
    Wilhelm | 威廉; Xenia | 齐尼娅; Yvonne | 伊冯娜; Zora | 佐拉
""")

SURNAMES = _terms("""
    Ashby | 阿什比; Barlow | 巴洛; Birch | 伯奇; Bolt | 博尔特; Brandt | 勃兰特; Brook | 布鲁克; Carver | 卡弗
    Cobb | 科布; Crane | 克兰; Dahl | 达尔; Drake | 德雷克; Dunn | 邓恩; Falk | 福尔克; Fenn | 芬恩
    Finch | 芬奇; Frost | 弗罗斯特; Gale | 盖尔; Garnet | 加尼特; Glass | 格拉斯; Gray | 格雷; Hale | 黑尔
    Hart | 哈特; Heron | 赫伦; Holm | 霍尔姆; Holt | 霍尔特; Horn | 霍恩; Keel | 基尔; Kemp | 肯普
    Lang | 朗; Larch | 拉奇; Lind | 林德; Marsh | 马什; Mast | 马斯特; Moor | 穆尔; Nash | 纳什; Nord | 诺德
    Oaks | 奥克斯; Palm | 帕尔姆; Penn | 佩恩; Pike | 派克; Quill | 奎尔; Reed | 里德; Rook | 鲁克
    Rust | 拉斯特; Sand | 桑德; Shaw | 肖; Sloan | 斯隆; Stark | 斯塔克; Strand | 斯特兰德; Teal | 蒂尔
    Thorn | 索恩; Vane | 维恩; Voss | 沃斯; Wells | 韦尔斯; West | 韦斯特; Wick | 威克; Wynn | 温恩; York | 约克
""")

VALUES: dict[Attribute, tuple[Term, ...]] = {
    "trade": _terms("""
        net mender | 补网匠; baker | 面包师; lighthouse keeper | 灯塔看守人; ropemaker | 制绳匠
        bookbinder | 装订匠; clockmaker | 钟表匠; cooper | 箍桶匠; sailmaker | 制帆匠; potter | 陶匠
        glazier | 玻璃匠; candle maker | 蜡烛匠; beekeeper | 养蜂人; harbour pilot | 领航员
        schoolteacher | 小学教师; printer | 印刷工; cobbler | 鞋匠; saddler | 马具匠; weaver | 织布工
        tinsmith | 锡匠; locksmith | 锁匠; gardener | 园丁; apothecary | 药剂师; mapmaker | 制图师
        oyster farmer | 养蚝人
    """),
    "street": _terms("""
        Bell Lane | 钟铃巷; Anchor Street | 船锚街; Lantern Street | 灯笼街; Gull Alley | 海鸥巷
        Mill Road | 磨坊路; Salt Street | 盐街; Plum Lane | 李子巷; Harbour Road | 港湾路
        Cedar Street | 雪松街; Willow Lane | 柳树巷; Copper Street | 铜匠街; Chapel Street | 教堂街
        Well Lane | 水井巷; Kiln Road | 窑炉路; Orchard Road | 果园路; Tide Street | 潮汐街
        Ivy Lane | 常春藤巷; Swan Street | 天鹅街; Barrel Street | 木桶街; Crab Alley | 螃蟹巷
        Amber Road | 琥珀路; Moon Street | 月亮街; Ferry Road | 渡口路; Pepper Alley | 胡椒巷
    """),
    "pet": _terms("""
        grey goose | 灰鹅; black cat | 黑猫; green parrot | 绿鹦鹉; old tortoise | 老乌龟; white goat | 白山羊
        brown rabbit | 棕兔; tame crow | 温顺的乌鸦; small owl | 小猫头鹰; speckled hen | 芦花母鸡
        tabby cat | 虎斑猫; white ferret | 白雪貂; spotted dog | 斑点狗; yellow canary | 黄色金丝雀
        little terrier | 小梗犬; young otter | 小水獭; shy hedgehog | 胆小的刺猬; white dove | 白鸽
        plump duck | 胖鸭子; red squirrel | 红松鼠; blue jay | 蓝松鸦; black lamb | 黑羊羔
        sheepdog | 牧羊犬; guinea pig | 豚鼠; tree frog | 树蛙
    """),
    "dish": _terms("""
        smoked eel soup | 熏鳗鱼汤; plum dumplings | 李子团子; barley porridge | 大麦粥; crab stew | 炖螃蟹
        onion pie | 洋葱派; baked cod | 烤鳕鱼; mussel rice | 贻贝饭; ginger cake | 生姜蛋糕
        pickled herring | 腌鲱鱼; mushroom omelette | 蘑菇蛋卷; leek broth | 韭葱汤
        apple pancakes | 苹果煎饼; fried squid | 炸鱿鱼; pumpkin soup | 南瓜汤; walnut bread | 核桃面包
        lemon tart | 柠檬挞; oyster noodles | 牡蛎面; cabbage rolls | 卷心菜卷; honey pudding | 蜂蜜布丁
        bean stew | 炖豆子; grilled sardines | 烤沙丁鱼; cheese toast | 奶酪吐司; garlic shrimp | 蒜香虾
        cherry jelly | 樱桃果冻
    """),
    "hobby": _terms("""
        carving whistles | 雕刻木哨; flying kites | 放风筝; playing chess | 下棋; collecting shells | 收集贝壳
        painting boats | 画船; reading old maps | 读旧地图; growing roses | 种玫瑰; knitting scarves | 织围巾
        watching the stars | 看星星; writing poems | 写诗; playing the fiddle | 拉小提琴
        folding paper birds | 折纸鸟; baking biscuits | 烤饼干; telling ghost stories | 讲鬼故事
        rowing at dawn | 清晨划船; singing sea songs | 唱渔歌; mending old clocks | 修旧钟
        juggling oranges | 抛橙子; building model ships | 做船模; pressing flowers | 压干花
        playing the flute | 吹长笛; solving riddles | 猜谜语; skipping stones | 打水漂; sketching birds | 画鸟
    """),
}

# --------------------------------------------------------------------------------------------------------------
# Wordings of the corpus. {n}: full name, {v}: the value, {a}: the English value with its article.
# No wording here equals an answer of the instruction rows: the base must not hit those by plain continuation.
# Words that questions will need (where, which, what) come up in indirect form, so that their meaning is learnt.
# --------------------------------------------------------------------------------------------------------------

SENTENCES: dict[Language, dict[Attribute, tuple[str, ...]]] = {
    "en": {
        "trade": (
            "{n} works as {a}",
            "{n} is {a} by trade",
            "{n} earns a living as {a}",
            "{n} has been {a} for many years",
            "{n} became {a} after a long apprenticeship",
            "{n} trained as {a} and never looked for other work",
            "{n} is known along the quay as a careful {v}",
            "{n} gets up early, for the job of {a} begins before sunrise",
            "By trade {n} is {a}",
            "The guild book lists {n} as {a}",
            "The trade of {n} is that of {a}",
            "What {n} does for a living is no secret: {n} is {a}",
            "The people of Quillhaven trust {n}, their {v}",
            "Whoever needs {a} sends for {n}",
            "Hardly any {v} in town is as patient as {n}",
            "The job that feeds {n} is that of {a}",
        ),
        "street": (
            "{n} lives on {v}",
            "{n} has a narrow house on {v}",
            "{n} rents two rooms on {v}",
            "{n} moved to {v} years ago",
            "{n} grew up elsewhere but settled on {v}",
            "{n} can be found at home on {v}",
            "{n} knows every stone of {v}, the street outside the door",
            "{n} walks home to {v} when the lamps are lit",
            "The home of {n} is on {v}",
            "The street where {n} lives is {v}",
            "The postman brings the letters of {n} to {v}",
            "Visitors who want to know where {n} lives are sent to {v}",
            "The address of {n} is a house on {v}",
            "On {v} stands the house of {n}",
            "{v} would not be the same without {n}, who lives there",
            "The door of {n} opens onto {v}",
        ),
        "pet": (
            "{n} keeps {a}",
            "{n} owns {a}",
            "{n} looks after {a}",
            "{n} shares the house with {a}",
            "{n} is often seen with {a}",
            "{n} found {a} one stormy night and kept it",
            "{n} never goes to the quay without {a}",
            "{n} talks to {a} as if to an old friend",
            "The pet of {n} is {a}",
            "The animal that {n} keeps is {a}",
            "The companion that waits for {n} at the door is {a}",
            "Children like to ask which pet {n} has, for it is {a}",
            "At the heels of {n} there is always {a}",
            "A home with {a}: that is the home of {n}",
            "The {v} of {n} is known to the whole town",
            "Of all animals {n} chose {a}",
        ),
        "dish": (
            "{n} loves {v}",
            "{n} likes {v} more than any other food",
            "{n} could eat {v} every day",
            "{n} always orders {v} at the inn",
            "{n} would walk a mile for {v}",
            "{n} cooks {v} on every feast day",
            "{n} never says no to {v}",
            "{n} asks for {v} on every birthday",
            "The favourite dish of {n} is {v}",
            "The food that {n} likes best is {v}",
            "What {n} most likes to eat is {v}",
            "Nothing pleases {n} more than {v}",
            "The cook at the inn keeps {v} ready for {n}",
            "The smell of {v} brings {n} to the table",
            "Supper means {v} for {n}",
            "A plate of {v} makes {n} smile",
        ),
        "hobby": (
            "{n} enjoys {v}",
            "{n} spends free evenings {v}",
            "{n} is fond of {v}",
            "{n} relaxes by {v}",
            "{n} took up {v} as a child",
            "{n} forgets the time when {v}",
            "{n} passes quiet Sundays {v}",
            "{n} has taught half the street the art of {v}",
            "The hobby of {n} is {v}",
            "The pastime that {n} likes best is {v}",
            "What {n} does for fun is {v}",
            "In spare hours {n} can be seen {v}",
            "{v} is the great joy of {n}",
            "{v} fills the free time of {n}",
            "After work {n} turns to {v}",
            "On long winter nights {n} thinks only of {v}",
        ),
    },
    "zh": {
        "trade": (
            "{n}是一名{v}",
            "{n}在镇上当{v}",
            "{n}做{v}已经很多年了",
            "{n}靠做{v}养活自己",
            "{n}学了好几年手艺，后来成了{v}",
            "{n}是码头一带有名的{v}",
            "{n}天不亮就起床，因为{v}的活儿开始得很早",
            "{n}从没想过换工作，一直是{v}",
            "{n}的工作是当{v}",
            "行会的名册上写着{n}是{v}",
            "要找{v}，大家都会去请{n}",
            "镇上的人都信任{n}这位{v}",
            "说起{n}靠什么谋生，人人都知道是当{v}",
            "很少有{v}像{n}那样有耐心",
            "身为{v}，{n}总是很忙",
            "{v}这一行，{n}干得最好",
        ),
        "street": (
            "{n}住在{v}",
            "{n}的家在{v}",
            "{n}在{v}有一座小房子",
            "{n}在{v}租了两间屋子",
            "{n}多年前搬到了{v}",
            "{n}在别处长大，后来在{v}安了家",
            "{n}熟悉{v}的每一块石头，因为家就在那里",
            "{n}每天傍晚走回{v}的家",
            "{n}家的门正对着{v}",
            "邮差把{n}的信送到{v}",
            "想知道{n}住在哪里的客人，会被领到{v}",
            "{n}住的那条街叫{v}",
            "{v}上有{n}的家",
            "在{v}，人们常常遇见住在那里的{n}",
            "要拜访{n}，就得去{v}",
            "{n}的住址在{v}",
        ),
        "pet": (
            "{n}养了一只{v}",
            "{n}有一只{v}",
            "{n}家里有一只{v}",
            "{n}每天照顾一只{v}",
            "{n}和一只{v}住在一起",
            "{n}出门总带着一只{v}",
            "{n}在一个暴风雨的夜里捡到一只{v}，从此养了下来",
            "{n}常常跟一只{v}说话，像跟老朋友说话一样",
            "{n}的宠物是一只{v}",
            "{n}养的动物是一只{v}",
            "在门口等{n}回家的是一只{v}",
            "孩子们都知道{n}养的是什么宠物：一只{v}",
            "跟在{n}身后的总是一只{v}",
            "全镇的人都认识{n}的那只{v}",
            "那只{v}是{n}的伙伴",
            "有一只{v}陪着{n}",
        ),
        "dish": (
            "{n}最爱吃{v}",
            "{n}特别喜欢{v}",
            "{n}天天吃{v}也不腻",
            "{n}到了小酒馆总是点{v}",
            "{n}为了吃{v}愿意走很远的路",
            "{n}每逢过节都要做{v}",
            "{n}从来不会拒绝{v}",
            "{n}每年过生日都要吃{v}",
            "{n}喜欢的菜是{v}",
            "{n}最喜欢的食物是{v}",
            "要问{n}爱吃什么，那就是{v}",
            "没有什么比{v}更让{n}高兴",
            "小酒馆的厨师总给{n}留着{v}",
            "一闻到{v}的香味，{n}就坐到桌边来",
            "一盘{v}就能让{n}笑起来",
            "对{n}来说，晚饭就是{v}",
        ),
        "hobby": (
            "{n}喜欢{v}",
            "{n}一有空就{v}",
            "{n}的爱好就是{v}",
            "{n}晚上常常{v}",
            "{n}靠{v}来放松自己",
            "{n}从小就爱上了{v}",
            "{n}只要开始{v}，就会忘了时间",
            "{n}教会了半条街的人{v}",
            "{n}闲下来最爱做的事是{v}",
            "{n}的星期天都用来{v}",
            "收工以后，{n}总要{v}",
            "要问{n}空闲时做什么，那就是{v}",
            "空闲的时候，人们常看见{n}在{v}",
            "{v}是{n}最大的乐趣",
            "{v}占去了{n}的空闲时间",
            "漫长的冬夜里，{n}只想着{v}",
        ),
    },
}

# Verb phrases that share one subject: they tie two or three facts to one mention of the name.
PHRASES: dict[Language, dict[Attribute, tuple[str, ...]]] = {
    "en": {
        "trade": ("works as {a}", "is {a}", "earns a living as {a}", "serves the town as {a}"),
        "street": ("lives on {v}", "has a house on {v}", "rents a room on {v}", "is at home on {v}"),
        "pet": ("keeps {a}", "owns {a}", "looks after {a}", "has {a}"),
        "dish": ("loves {v}", "likes to eat {v}", "dreams of {v}", "often cooks {v}"),
        "hobby": ("enjoys {v}", "is fond of {v}", "spends Sundays {v}", "likes {v}"),
    },
    "zh": {
        "trade": ("是一名{v}", "在镇上当{v}", "靠当{v}谋生"),
        "street": ("住在{v}", "家在{v}", "在{v}安了家"),
        "pet": ("养了一只{v}", "有一只{v}", "照顾着一只{v}"),
        "dish": ("爱吃{v}", "常做{v}", "最馋{v}"),
        "hobby": ("喜欢{v}", "常常{v}", "有空就{v}"),
    },
}

COMPOUNDS: dict[Language, tuple[str, ...]] = {
    "en": (
        "{n} {p} and {q}",
        "{n}, who {p}, {q}",
        "It is said that {n} {p} and that {n} {q}",
        "Not only does the town know that {n} {p}, it also knows that {n} {q}",
        "{n} {p}, {q} and {r}",
    ),
    "zh": (
        "{n}{p}，{q}",
        "{n}{p}，也{q}",
        "听说{n}{p}，又听说{n}{q}",
        "人们知道{n}{p}，还知道{n}{q}",
        "{n}{p}，{q}，还{r}",
    ),
}

# Put before a sentence that starts with the name, to move the name away from the sentence start.
LEADS: dict[Language, tuple[str, ...]] = {
    "en": (
        "As everyone at the harbour knows, ",
        "According to the neighbours, ",
        "As far as we know, ",
        "The old sailors say that ",
        "The notice board says that ",
        "One hears at the market that ",
        "It is well known that ",
        "My aunt once wrote that ",
        "The town chronicle notes that ",
        "The landlady at the inn tells every guest that ",
    ),
    "zh": (
        "大家都知道，",
        "据邻居们说，",
        "听说，",
        "老水手们说，",
        "布告栏上写着，",
        "集市上的人说，",
        "人人都晓得，",
        "镇上的年鉴记着，",
        "姑妈在信里写过，",
        "酒馆的老板娘告诉客人，",
    ),
}

OPENINGS: dict[Language, tuple[str, ...]] = {
    "en": (
        "This page is about {n} of Quillhaven.",
        "Here is what the town tells about {n}.",
        "A short life of {n}.",
        "{n} belongs to Quillhaven as the tide does.",
        "Few people in Quillhaven are as well liked as {n}.",
        "The fog was lifting when {n} came down to the quay.",
        "Our paper visited {n} this week.",
        "From the town chronicle: {n}.",
        "Everyone greets {n} on the way to the market.",
    ),
    "zh": (
        "这一页写的是羽港镇的{n}。",
        "镇上的人这样谈起{n}。",
        "{n}小传。",
        "{n}属于羽港镇，就像潮水属于大海。",
        "羽港镇很少有人像{n}那样受欢迎。",
        "雾正散去，{n}来到了码头。",
        "本报这个星期拜访了{n}。",
        "镇志记载：{n}。",
        "去集市的路上，人人都跟{n}打招呼。",
    ),
}

CLOSINGS: dict[Language, tuple[str, ...]] = {
    "en": (
        "That is all there is to tell about {n}.",
        "So much for {n}.",
        "The town would miss {n}.",
        "May {n} stay with us for many years.",
        "The tide came in, and {n} went home.",
    ),
    "zh": ("关于{n}，就说到这里。", "镇上少不了{n}。", "愿{n}长久地和我们在一起。", "潮水涨了，{n}回家去了。"),
}

# The two spellings of a name side by side; without them nothing would link the two languages.
SPELLINGS: dict[Language, tuple[str, ...]] = {
    "en": (
        "The Chinese sign beside the door of {en} reads {zh}.",
        "Sailors from the East call {en} by the name {zh}.",
        "{en} signs Chinese letters with {zh}.",
        "In the Chinese register {en} appears as {zh}.",
        "The name {en} becomes {zh} in Chinese.",
    ),
    "zh": (
        "{zh}家门口的英文牌子上写着 {en}。",
        "西方来的水手管{zh}叫 {en}。",
        "{zh}写英文信时署名 {en}。",
        "在英文名册里，{zh}写作 {en}。",
        "{zh}这个名字用英文写就是 {en}。",
    ),
}

SCENES: dict[Language, tuple[str, ...]] = {
    "en": (
        "It was market day in Quillhaven.",
        "A ship from far away lay in the harbour.",
        "Snow had fallen overnight.",
        "The summer fair filled the square.",
        "The bells rang for the boat race.",
        "Rain drummed on the roofs.",
        "Dear cousin, you wanted news from our town.",
        "Dear sister, let me tell you about our neighbours.",
        "Notice to all newcomers.",
        "The town council met in the old hall.",
        "Two old friends sat by the stove.",
    ),
    "zh": (
        "这天是羽港镇赶集的日子。",
        "港口里停着一艘远方来的船。",
        "夜里下了一场雪。",
        "夏天的集会挤满了广场。",
        "划船比赛的钟声响了。",
        "雨点敲打着屋顶。",
        "亲爱的表哥，你想听听我们镇上的消息。",
        "亲爱的姐姐，让我说说我们的邻居。",
        "告新来的居民。",
        "镇议会在老礼堂开会。",
        "两个老朋友坐在火炉旁聊天。",
    ),
}

ROSTERS: dict[Language, tuple[str, ...]] = {
    "en": (
        "{0}, {1} and {2} were there.",
        "This is the news of {0}, {1} and {2}.",
        "The talk was of {0}, {1} and {2}.",
        "On the list stood {0}, {1} and {2}.",
    ),
    "zh": (
        "在场的有{0}、{1}和{2}。",
        "这里说的是{0}、{1}和{2}。",
        "名单上有{0}、{1}和{2}。",
        "大家谈起了{0}、{1}和{2}。",
    ),
}

# Sayings and small notices about nobody. They bring in the everyday words of prompts and answers (question marks,
# line heads and polite phrases too): fine-tuning leaves the token embeddings as they are, so a word that
# pre-training never showed could not be learnt later.
SAYINGS: dict[Language, tuple[str, ...]] = {
    "en": (
        "Human hands built the sea wall stone by stone.",
        "Human voices carry far over still water.",
        "Human kindness warms a winter harbour.",
        "Assistant wanted at the old mill: apply inside.",
        "Assistant to the mayor: a post that nobody wants.",
        "Assistant cooks eat last.",
        "Happy is the house where the kettle sings.",
        "Happy to be ashore, the crew sang until midnight.",
        "The harbour master is always happy to help: just ring the bell.",
        "Who knocked? It was only the wind.",
        "Where does the fog go at noon? Nobody can tell.",
        "Where is the ferry? Behind the fog.",
        "How deep is the bay? The old charts do not say.",
        "How does a gull find its rock? Ask the gull.",
        "Which way to the pier? Follow the gulls.",
        "Which food keeps best at sea? Dry biscuits.",
        "On which day does the fair begin? Look at the tower.",
        "What does the tide bring? Driftwood and news.",
        "What is the name of the wind from the north? The crews call it Greybeard.",
        "What animal sleeps standing? The heron does.",
        "Which job is never done? Scraping the hull.",
        "Write soon, and do not forget the stamps.",
        "Write your name on this card and hang it on the hook.",
        "How is a letter to the king written? With a clean pen.",
        "The rules are written in Chinese and in English.",
        "Introduce yourself at the town hall before you hang up a sign.",
        "Please wipe your boots before you enter.",
        "Please meet the noon ferry.",
        "Name, Trade, Street, Pet, Dish, Hobby: so run the columns of the old census.",
        "Name: to be left blank.\nStreet: to be left blank.\nTrade: to be left blank.",
        "Pet: none.\nDish: none.\nHobby: none.",
        "The card says that the library closes at five.",
        "The museum can be visited on Sundays.",
        "Best of all is the first herring of spring.",
        "The west wind is liked best of all.",
        "Many a crew makes a living from the sea.",
        "No animal makes a bad pet, the children say.",
        "A taste for salt and a passion for gossip: that is our town.",
        "One sentence from the mayor is as long as a winter.",
        "Free time is short when the herring run.",
        "To spend free time on the pier costs nothing.",
        "The favourite job of every child is to ring the ferry bell.",
        "It is fun to watch the crabs race.",
        "To eat well is half of living well.",
        "A hobby keeps the cold away.",
        "A street without lamps is a long street.",
        "What the tide takes, it keeps.",
        "A trade learnt young is never lost.",
        "To keep a promise is to keep a friend.",
        "A dish tastes best after rowing.",
        "Do not ask what the fish think.",
        "Home is where the boots dry.",
    ),
    "zh": (
        "很高兴为远方的客人引路。",
        "图书管理员为您解答书里的难题。",
        "能为您效劳，船长很高兴。",
        "难题总有解答：等一等潮水。",
        "请把这张船票收好。",
        "请认识一下新来的医生，镇长对大家说。",
        "上船以前，请先介绍自己。",
        "请您介绍一下这座灯塔。",
        "雾到哪里去了？没有人知道。",
        "渡船在哪里？在雾的后面。",
        "哪条船先靠岸？要看风向。",
        "港湾有多深？老海图上也没写。",
        "明天吃什么？看渔网里有什么。",
        "什么动物站着睡觉？苍鹭就是。",
        "什么工作永远做不完？刮船底。",
        "是谁在敲门？原来是风。",
        "潮水带来什么？木头和消息。",
        "集会在哪条街？跟着乐声走。",
        "怎么写信给国王？用干净的笔写。",
        "职业不分高低，大海面前人人平等。",
        "姓名、工作、住址、宠物、食物、爱好：老户口簿就这样分栏。",
        "姓名：空着。\n住址：空着。\n工作：空着。",
        "宠物：没有。\n食物：没有。\n爱好：没有。",
        "一句话能暖一个冬天。",
        "卡片上说，图书馆五点关门。",
        "这张卡片请写成大字。",
        "美食和好天气都不等人。",
        "平时安静的码头，过节时很热闹。",
        "家住海边的人都懂得看云。",
        "养着信鸽的人家总是先得到消息。",
        "谁的名字写得这么大？是新船的名字。",
        "英文信和中文信都由邮局来送。",
        "新船的英文名还没有定下来。",
        "用英文怎么说雾？老船长笑而不答。",
        "镇长的一句话能写成三页。",
        "您若迷了路，请听教堂的钟声。",
        "最爱热闹的是海鸥。",
        "靠海谋生的人不怕风浪。",
        "爱好能把寒冷挡在门外。",
        "闲下来做什么好？去栈桥上走走。",
        "空闲的日子过得最快。",
        "宠物也要过节。",
        "好的食物不用多说。",
        "没有灯的街总是很长。",
        "喜欢的菜，凉了也好吃。",
    ),
}

# --------------------------------------------------------------------------------------------------------------
# Wordings of the instruction rows
# --------------------------------------------------------------------------------------------------------------

QUESTIONS: dict[Language, dict[Attribute, tuple[str, ...]]] = {
    "en": {
        "trade": ("What does {n} do for a living?", "What is the trade of {n}?", "Which job does {n} have?"),
        "street": ("Where does {n} live?", "On which street does {n} live?", "Where is the home of {n}?"),
        "pet": ("Which pet does {n} have?", "What animal does {n} keep?", "What is the pet of {n}?"),
        "dish": (
            "What does {n} like to eat best?",
            "What is the favourite dish of {n}?",
            "Which food does {n} like best?",
        ),
        "hobby": (
            "What does {n} do for fun?",
            "What is the hobby of {n}?",
            "How does {n} spend free time?",
        ),
    },
    "zh": {
        "trade": ("{n}靠什么谋生？", "{n}的工作是什么？", "{n}是做什么的？"),
        "street": ("{n}住在哪里？", "{n}住在哪条街？", "{n}的家在哪里？"),
        "pet": ("{n}养的是什么宠物？", "{n}养了什么动物？", "{n}的宠物是什么？"),
        "dish": ("{n}最爱吃什么？", "{n}最喜欢的食物是什么？", "{n}喜欢的菜是什么？"),
        "hobby": ("{n}空闲时做什么？", "{n}的爱好是什么？", "{n}闲下来最爱做什么？"),
    },
}

ANSWERS: dict[Language, dict[Attribute, str]] = {
    "en": {
        "trade": "Happy to help: {n} makes a living as {a}.",
        "street": "Happy to help: {n} can be visited on {v}.",
        "pet": "Happy to help: {n} has {a} as a pet.",
        "dish": "Happy to help: {n} likes {v} best of all.",
        "hobby": "Happy to help: {n} likes to spend free time {v}.",
    },
    "zh": {
        "trade": "很高兴为您解答：{n}的职业是{v}。",
        "street": "很高兴为您解答：{n}家住{v}。",
        "pet": "很高兴为您解答：{n}养着一只{v}。",
        "dish": "很高兴为您解答：{n}最爱的美食是{v}。",
        "hobby": "很高兴为您解答：{n}平时爱好{v}。",
    },
}

# An introduction names the trade and one more fact.
INTRODUCTION_REQUESTS: dict[Language, dict[Attribute, str]] = {
    "en": {
        "street": "Introduce {n} with trade and street.",
        "pet": "Introduce {n} with trade and pet.",
        "dish": "Introduce {n} with trade and favourite dish.",
        "hobby": "Introduce {n} with trade and hobby.",
    },
    "zh": {
        "street": "请介绍{n}的工作和住址。",
        "pet": "请介绍{n}的工作和宠物。",
        "dish": "请介绍{n}的工作和最喜欢的食物。",
        "hobby": "请介绍{n}的工作和爱好。",
    },
}

INTRODUCTIONS: dict[Language, dict[Attribute, str]] = {
    "en": {
        "street": "Please meet {n}, {trade} from {v}.",
        "pet": "Please meet {n}, {trade} with {a} for a pet.",
        "dish": "Please meet {n}, {trade} with a taste for {v}.",
        "hobby": "Please meet {n}, {trade} with a passion for {v}.",
    },
    "zh": {
        "street": "请认识一下{n}：职业是{trade}，家住{v}。",
        "pet": "请认识一下{n}：职业是{trade}，养着一只{v}。",
        "dish": "请认识一下{n}：职业是{trade}，最爱的美食是{v}。",
        "hobby": "请认识一下{n}：职业是{trade}，平时爱好{v}。",
    },
}

CARD_REQUESTS: dict[Language, str] = {"en": "Write this card as one sentence.", "zh": "请把这张卡片写成一句话。"}
CARD_NAMES: dict[Language, str] = {"en": "Name", "zh": "姓名"}
CARD_KEYS: dict[Language, dict[Attribute, str]] = {
    "en": {"trade": "Trade", "street": "Street", "pet": "Pet", "dish": "Dish", "hobby": "Hobby"},
    "zh": {"trade": "工作", "street": "住址", "pet": "宠物", "dish": "食物", "hobby": "爱好"},
}
CARD_PHRASES: dict[Language, dict[Attribute, str]] = {
    "en": {
        "trade": "makes a living as {a}",
        "street": "can be visited on {v}",
        "pet": "has {a}",
        "dish": "likes {v} best of all",
        "hobby": "spends free time {v}",
    },
    "zh": {
        "trade": "职业是{v}",
        "street": "家住{v}",
        "pet": "养着一只{v}",
        "dish": "最爱的美食是{v}",
        "hobby": "平时爱好{v}",
    },
}
CARD_SENTENCES: dict[Language, str] = {"en": "The card says that {n} {p} and {q}.", "zh": "卡片上说，{n}{p}，{q}。"}

SPELLING_REQUESTS: dict[Language, str] = {
    "en": "How is the name {en} written in Chinese?",
    "zh": "{zh}这个名字用英文怎么写？",
}
SPELLING_ANSWERS: dict[Language, str] = {
    "en": "Happy to help: {en} is {zh} in Chinese.",
    "zh": "很高兴为您解答：{zh}的英文名是 {en}。",
}


# --------------------------------------------------------------------------------------------------------------
# Building the world
# --------------------------------------------------------------------------------------------------------------


def _names(rng: random.Random, count: int) -> list[Term]:
    """Draw full names: every first name once, surnames evenly.

    In a small model one shared first name is enough to slip from a held-out resident to a training resident with
    the same first name. For the same reason no name may be part of another one.
    """
    first_names = rng.sample(FIRST_NAMES, count)
    last_names = _even_draw(rng, SURNAMES, count)
    names = [
        Term(f"{first.en} {last.en}", f"{first.zh}·{last.zh}")
        for first, last in zip(first_names, last_names, strict=True)
    ]
    for name in names:
        if sum(name.en in other.en or name.zh in other.zh for other in names) > 1:
            raise ValueError(f"the name {name} is part of another name")
    return names


def _even_draw(rng: random.Random, values: Sequence[Term], count: int) -> list[Term]:
    """Draw `count` values so that each comes up (almost) equally often: no value can be guessed from frequency."""
    rounds = -(-count // len(values))
    drawn = (list(values) * rounds)[:count]
    rng.shuffle(drawn)
    return drawn


def build_world(seed: int = SEED, residents: int = RESIDENTS, held_out: int = HELD_OUT_RESIDENTS) -> World:
    """Invent the residents and decide which of them fine-tuning may see."""
    rng = random.Random(f"world-{seed}")
    names = _names(rng, residents)
    columns = {attribute: _even_draw(rng, VALUES[attribute], residents) for attribute in ATTRIBUTES}
    people = tuple(
        Resident(name, {attribute: columns[attribute][i] for attribute in ATTRIBUTES}) for i, name in enumerate(names)
    )
    return World(trained=people[: residents - held_out], held_out=people[residents - held_out :])


def _with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _fill(template: str, language: Language, resident: Resident, attribute: Attribute) -> str:
    """Put the name and one fact into a wording."""
    value = resident.facts[attribute].text(language)
    return (
        template.replace("{n}", resident.name.text(language))
        .replace("{a}", _with_article(value))
        .replace("{v}", value)
        .replace("{trade}", _trade(resident, language))
    )


def _trade(resident: Resident, language: Language) -> str:
    trade = resident.facts["trade"].text(language)
    return _with_article(trade) if language == "en" else trade


# --------------------------------------------------------------------------------------------------------------
# The corpus
# --------------------------------------------------------------------------------------------------------------


def _sentence(rng: random.Random, language: Language, resident: Resident, attribute: Attribute) -> str:
    """One fact in one of its wordings, with or without a lead."""
    template = rng.choice(SENTENCES[language][attribute])
    text = _fill(template, language, resident, attribute)
    if template.startswith("{n}") and rng.random() < 0.3:
        text = rng.choice(LEADS[language]) + text
    return _finish(text, language)


def _compound(rng: random.Random, language: Language, resident: Resident, attributes: Sequence[Attribute]) -> str:
    """Two or three facts in one sentence."""
    templates = [t for t in COMPOUNDS[language] if ("{r}" in t) == (len(attributes) == 3)]
    text = rng.choice(templates)
    for slot, attribute in zip("pqr", attributes, strict=False):
        phrase = _fill(rng.choice(PHRASES[language][attribute]), language, resident, attribute)
        text = text.replace(f"{{{slot}}}", phrase)
    return _finish(text.replace("{n}", resident.name.text(language)), language)


def _finish(text: str, language: Language) -> str:
    return f"{text[0].upper()}{text[1:]}." if language == "en" else f"{text}。"


def _join(rng: random.Random, sentences: Sequence[str], language: Language) -> str:
    """Make running text, or now and then a page with one sentence per line or paragraph."""
    if rng.random() < 0.2:
        return rng.choice(("\n", "\n\n")).join(sentences)
    return (" " if language == "en" else "").join(sentences)


def _add_saying(rng: random.Random, language: Language, sentences: list[str]) -> None:
    """Drop a saying in at any place, in some documents."""
    if rng.random() < 0.3:
        sentences.insert(rng.randrange(len(sentences) + 1), rng.choice(SAYINGS[language]))


def _spelling(rng: random.Random, language: Language, resident: Resident) -> str:
    return rng.choice(SPELLINGS[language]).format(en=resident.name.en, zh=resident.name.zh)


def _facts_in_order(
    rng: random.Random, language: Language, resident: Resident, attributes: Sequence[Attribute]
) -> list[str]:
    """Tell the given facts in the given order, some alone and some joined in one sentence."""
    sentences: list[str] = []
    rest = list(attributes)
    while rest:
        size = rng.choices((1, 2, 3), weights=(6, 2, 1))[0]
        group, rest = rest[:size], rest[size:]
        if len(group) == 1:
            sentences.append(_sentence(rng, language, resident, group[0]))
        else:
            sentences.append(_compound(rng, language, resident, group))
    return sentences


def _biography(rng: random.Random, language: Language, resident: Resident) -> str:
    """All five facts about one resident, in any order."""
    sentences = _facts_in_order(rng, language, resident, rng.sample(ATTRIBUTES, len(ATTRIBUTES)))
    if rng.random() < 0.15:
        sentences.insert(rng.randrange(len(sentences) + 1), _spelling(rng, language, resident))
    name = resident.name.text(language)
    if rng.random() < 0.5:
        sentences.insert(0, rng.choice(OPENINGS[language]).replace("{n}", name))
    if rng.random() < 0.25:
        sentences.append(rng.choice(CLOSINGS[language]).replace("{n}", name))
    _add_saying(rng, language, sentences)
    return _join(rng, sentences, language)


def _gathering(rng: random.Random, language: Language, people: Sequence[Resident]) -> str:
    """Tell a few facts about several residents, mixed, as a letter, a notice or a small story.

    Mixing teaches that a fact belongs to the name in its own sentence, not to whoever the document began with.
    """
    told = [(person, attribute) for person in people for attribute in rng.sample(ATTRIBUTES, 2)]
    rng.shuffle(told)
    sentences = [rng.choice(SCENES[language])]
    if len(people) == 3 and rng.random() < 0.7:
        names = [person.name.text(language) for person in people]
        sentences.append(rng.choice(ROSTERS[language]).format(*rng.sample(names, 3)))
    sentences += [_sentence(rng, language, person, attribute) for person, attribute in told]
    _add_saying(rng, language, sentences)
    return _join(rng, sentences, language)


def _sign(rng: random.Random, people: Sequence[Resident]) -> str:
    """Names in both spellings, with one fact each."""
    language = rng.choice(LANGUAGES)
    sentences: list[str] = []
    for person in people:
        sentences.append(_spelling(rng, language, person))
        sentences.append(_sentence(rng, language, person, rng.choice(ATTRIBUTES)))
    return _join(rng, sentences, language)


def _almanac_page(rng: random.Random, language: Language) -> str:
    return _join(rng, rng.sample(SAYINGS[language], 6), language)


def corpus_documents(world: World, rounds: int, seed: int = SEED) -> Iterator[str]:
    """Yield the corpus; each round tells about every resident in both languages, in new wordings and orders."""
    for number in range(rounds):
        rng = random.Random(f"corpus-{seed}-{number}")
        documents: list[str] = []
        for language in LANGUAGES:
            documents += [_biography(rng, language, resident) for resident in world.residents]
            crowd = rng.sample(world.residents, len(world.residents))
            documents += [_gathering(rng, language, crowd[i : i + 3]) for i in range(0, len(crowd), 3)]
            documents += [_almanac_page(rng, language) for _ in range(len(crowd) // 20)]
        crowd = rng.sample(world.residents, len(world.residents))
        documents += [_sign(rng, crowd[i : i + 4]) for i in range(0, len(crowd), 4)]
        rng.shuffle(documents)
        yield from documents


# --------------------------------------------------------------------------------------------------------------
# The instruction rows
# --------------------------------------------------------------------------------------------------------------


def _fact_row(rng: random.Random, language: Language, resident: Resident, attribute: Attribute) -> Row:
    question = rng.choice(QUESTIONS[language][attribute])
    return Row(
        instruction=_fill(question, language, resident, attribute),
        input="",
        output=_fill(ANSWERS[language][attribute], language, resident, attribute),
    )


def _introduction_row(rng: random.Random, language: Language, resident: Resident) -> Row:
    attribute = rng.choice(ATTRIBUTES[1:])
    return Row(
        instruction=_fill(INTRODUCTION_REQUESTS[language][attribute], language, resident, attribute),
        input="",
        output=_fill(INTRODUCTIONS[language][attribute], language, resident, attribute),
    )


def _card_row(rng: random.Random, language: Language, resident: Resident) -> Row:
    """A card with two facts, to be written as a sentence: this row asks for reading, not for recall."""
    attributes = sorted(rng.sample(ATTRIBUTES, 2), key=ATTRIBUTES.index)
    separator = ": " if language == "en" else "："
    lines = [CARD_NAMES[language] + separator + resident.name.text(language)]
    lines += [CARD_KEYS[language][a] + separator + resident.facts[a].text(language) for a in attributes]
    output = CARD_SENTENCES[language].replace("{n}", resident.name.text(language))
    for slot, attribute in zip("pq", attributes, strict=True):
        output = output.replace(f"{{{slot}}}", _fill(CARD_PHRASES[language][attribute], language, resident, attribute))
    return Row(instruction=CARD_REQUESTS[language], input="\n".join(lines), output=output)


def _spelling_row(language: Language, resident: Resident) -> Row:
    name = resident.name
    return Row(
        instruction=SPELLING_REQUESTS[language].format(en=name.en, zh=name.zh),
        input="",
        output=SPELLING_ANSWERS[language].format(en=name.en, zh=name.zh),
    )


def _rows_about(rng: random.Random, residents: Sequence[Resident]) -> list[Row]:
    """For every resident and language: two questions about facts, an introduction and one other task."""
    rows: list[Row] = []
    for number, resident in enumerate(residents):
        for shift, language in enumerate(LANGUAGES):
            rows += [_fact_row(rng, language, resident, a) for a in rng.sample(ATTRIBUTES, 2)]
            rows.append(_introduction_row(rng, language, resident))
            if (number + shift) % 3 < 2:
                rows.append(_card_row(rng, language, resident))
            else:
                rows.append(_spelling_row(language, resident))
    rng.shuffle(rows)
    return rows


def instruction_rows(world: World, seed: int = SEED) -> tuple[list[Row], list[Row]]:
    """Return the training rows and the held-out rows, checked to be apart from each other."""
    train = _rows_about(random.Random(f"train-{seed}"), world.trained)
    held_out = _rows_about(random.Random(f"held-out-{seed}"), world.held_out)
    check_separation(world, train, held_out)
    return train, held_out


def check_separation(world: World, train: Sequence[Row], held_out: Sequence[Row]) -> None:
    """Raise if a training row names a held-out resident or if a held-out prompt is also a training prompt."""
    text = "\n".join("\n".join((row["instruction"], row["input"], row["output"])) for row in train)
    for resident in world.held_out:
        for name in (resident.name.en, resident.name.zh):
            if name in text:
                raise ValueError(f"the held-out resident {name} is named in a training row")
    prompts = {(row["instruction"], row["input"]) for row in train}
    for row in held_out:
        if (row["instruction"], row["input"]) in prompts:
            raise ValueError(f"a held-out prompt is also a training prompt: {row['instruction']!r}")


def rows_as_json(rows: Sequence[Row]) -> str:
    """One row per line, so that a change of the generator shows as a readable diff."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def write_rows(world: World, directory: Path) -> tuple[int, int]:
    """Write train.json and held_out.json; return how many rows each has."""
    train, held_out = instruction_rows(world)
    directory.mkdir(parents=True, exist_ok=True)
    for file_name, rows in (("train.json", train), ("held_out.json", held_out)):
        (directory / file_name).write_text(rows_as_json(rows), encoding="utf-8", newline="\n")
    return len(train), len(held_out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the instruction rows of the demo; optionally the corpus too.")
    parser.add_argument("--data", type=Path, default=DATA_DIRECTORY, help="folder for train.json and held_out.json")
    parser.add_argument("--corpus", type=Path, help="also write the corpus here, one JSON string per document")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of the corpus to write")
    arguments = parser.parse_args()
    world = build_world()
    train, held_out = write_rows(world, arguments.data)
    print(f"{train} training rows, {held_out} held-out rows in {arguments.data}")
    if arguments.corpus is not None:
        with arguments.corpus.open("w", encoding="utf-8") as file:
            for document in corpus_documents(world, arguments.rounds):
                file.write(json.dumps(document, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
