"""Chinese of the data report: its problems, figures and examples (data/problems.py, lines.py, inspect.py, clean), and of
what stops it (length.py, build.py, template.py)."""

PROBLEMS = {
    (
        "{n} rows were cut to {t} tokens; {m} of them lose the end of their answer (the model learns to stop in "
        "mid-sentence there). Raise data.max_length, or use data.too_long=split or drop."
    ): (
        "{n} 条数据被截到 {t} 个词元；其中 {m} 条失去了回答的结尾（模型会学成话说一半就停）。"
        "请调大 data.max_length，或使用 data.too_long=split 或 drop。"
    ),
    (
        "{n} samples of rows that have several are left out, as they are too long or without an answer within "
        "data.max_length={t}."
    ): "由一条数据拆出的样本中有 {n} 个被去掉，因为太长，或在 data.max_length={t} 以内没有回答。",
    (
        "The chat template ({name}) ends an answer without a special token: the model will not learn where to stop."
    ): "对话模板（{name}）没有用特殊词元结束回答：模型学不会在哪里停下。",
    (
        "The chat template ({name}) asks for an answer with other tokens than those that stand before it in training: "
        "the model will be asked in a way that it was not trained for."
    ): "对话模板（{name}）提问时用的词元与训练时回答前面的不同：模型会以没训练过的方式被提问。",
    (
        "In {n} rows an answer is trained on without its end-of-turn token: the model learns to go on there."
    ): "{n} 条数据训练了回答，却没有训练它的结束词元：模型会在那里学成说个不停。",
    "{n} rows are left out ({m} from training); the first: {words}. All are in rejected.jsonl.": (
        "{n} 条数据被去掉（其中 {m} 条来自训练集）；第一条：{words}。全部列在 rejected.jsonl 中。"
    ),
    (
        "No row fell into the held-out share: there will be no held-out loss. Raise data.held_out."
    ): "没有一条数据分到留出的部分：将没有留出集损失。请调大 data.held_out。",
    (
        "{n} of {m} held-out prompts also stand in the training rows: the held-out loss is too good."
    ): "{m} 个留出的提示中有 {n} 个也出现在训练数据里：留出集损失会显得过好。",
    (
        "The chat template ({name}) opens a thinking block when it asks, and {n} of {m} dialogues have no thinking: "
        "the model learns to think nothing."
    ): "对话模板（{name}）提问时会打开思考块，而 {m} 个对话中有 {n} 个没有思考内容：模型会学成什么也不想。",
    (
        "{n} rows have <think> or </think> within an answer, where it is text as any other: thinking has to stand at "
        "the answer's beginning, or in a column of its own."
    ): "{n} 条数据的回答中间有 <think> 或 </think>，它们在那里只是普通文字：思考内容要放在回答的开头，或单独一列。",
    "{n} of {m} rows are found by the rule `{name}`": "{m} 条数据中有 {n} 条符合规则 `{name}`",
    "{n} of {m} rows equal an earlier row in every turn": "{m} 条数据中有 {n} 条每一轮都与前面某条完全相同",
    "{n} of {m} rows ask what an earlier row asks and answer something else": (
        "{m} 条数据中有 {n} 条与前面某条提问相同而回答不同"
    ),
    "{n} of {m} rows have a turn in which nothing can be seen": "{m} 条数据中有 {n} 条含有空白的轮次",
    "{n} of {m} rows are documents too short to learn from": "{m} 条数据中有 {n} 条是短得学不到东西的文档",
    "{n} of {m} rows have control characters or characters without width": (
        "{m} 条数据中有 {n} 条含控制字符或零宽字符"
    ),
    "{n} of {m} rows are in no Unicode normal form (equal characters are written in several ways)": (
        "{m} 条数据中有 {n} 条不符合 Unicode 规范形式（同一个字符有多种写法）"
    ),
    "the first: {file}, row {n}": "第一条：{file} 第 {n} 条",
    "{n} rows have {words1}, which the chat template ({name}) does not show: {words2}.": (
        "{n} 条数据含有{words1}，而对话模板（{name}）不显示它：{words2}。"
    ),
    "system": "系统消息",
    "tools": "工具",
    "tool calls": "工具调用",
    "thinking": "思考内容",
    "the system message is put before the first user message": "系统消息会放在第一条用户消息之前",
    "the model is not told of its tools, in training or when it is asked": (
        "无论训练还是提问时，模型都不知道自己有哪些工具"
    ),
    "calls are written into the answer as <tool_call>...</tool_call>": "调用会以 <tool_call>...</tool_call> 写进回答",
    (
        "it is written before the answer as <think>...</think>, unless the prompt brings an empty block"
    ): "它会以 <think>...</think> 写在回答之前，除非提示自带一个空块",
    (
        "The base looks instruction-tuned ({words}), and the data is rendered with {name}: what it learnt for its own "
        "template counts for less."
    ): "基座看起来经过指令微调（{words}），而数据用 {name} 渲染：它为自己的模板学到的东西作用会变小。",
    (
        "The base looks instruction-tuned ({words}), and the data is rendered with {name}, which it may not know."
    ): "基座看起来经过指令微调（{words}），而数据用 {name} 渲染，它可能不认识这个模板。",
}

BASE = {
    "instruction-tuned": "经过指令微调",
    "perhaps instruction-tuned": "可能经过指令微调",
    "a plain base": "纯基座",
    "looks like a plain base: {words}": "看起来是纯基座：{words}",
    "looks instruction-tuned: {words}": "看起来经过指令微调：{words}",
    "looks perhaps instruction-tuned: {words}": "可能经过指令微调：{words}",
    "its name says {name}": "名称中含有 {name}",
    "its generation config stops at {tokens}, as its chat template does": (
        "生成配置在 {tokens} 处停止，与对话模板一致"
    ),
}

REASONS = {
    "cannot be used": "无法使用",
    "too long": "太长",
    "refused by the template": "被模板拒绝",
    "the strangest: the rarest tokens, {a} bits each (median {b})": (
        "最不寻常的：词元最罕见，平均每个 {a} 比特（中位数 {b}）"
    ),
    "the most uniform: the commonest tokens, {a} bits each (median {b})": (
        "最单调的：词元最常见，平均每个 {a} 比特（中位数 {b}）"
    ),
    "too short to tell": "太短，无法判断",
    "unsure": "不确定",
    "no letters": "没有文字",
    "Chinese characters": "汉字",
    "Japanese": "日文",
    "Latin": "拉丁文字",
    "Cyrillic": "西里尔文字",
    "Hangul": "韩文",
    "Arabic": "阿拉伯文",
}

LINES = {
    "rows": "数据",
    "left out": "去掉",
    "sources": "来源",
    "forms": "格式",
    "training": "训练",
    "held out": "留出",
    "prompt": "提示",
    "both": "合计",
    "cut": "截断",
    "template": "模板",
    "unended": "未训练结尾",
    "leakage": "泄漏",
    "cleaning": "清洗",
    "language": "语言",
    "stream": "流式",
    "updates": "更新",
    "{n} samples, {t} tokens, {s} of them trained on": "{n} 个样本，{t} 个词元，其中 {s} 参与训练",
    "{n} read from {file}; {m} kept for training": "从 {file} 读取 {n} 条；{m} 条用于训练",
    "{n} read from {file}; {m} kept for training, {k} held out": "从 {file} 读取 {n} 条；{m} 条用于训练，{k} 条留出",
    "these are figures of its first window": "以下是第一个窗口的数字",
    "{name}, from {known}": "{name}，来自{known}",
    "the tokenizer's own": "分词器自带",
    "the model's tokenizer": "模型的分词器",
    "the file {name}": "文件 {name}",
    "ends a turn with {tokens}": "以 {tokens} 结束一轮",
    "ends a turn with no token": "不用词元结束一轮",
    "{words}, {n} rows have some": "{words}，{n} 条数据含有",
    "{words}, no row has any": "{words}，没有数据含有",
    "opens a thinking block when it asks": "提问时打开思考块",
    "brings an empty thinking block when it asks": "提问时带一个空思考块",
    "shows thinking": "显示思考内容",
    "knows no thinking": "不支持思考",
    "{n} rows whose end-of-turn token is not trained on": "{n} 条数据的结束词元没有参与训练",
    "{n} of {m} held-out prompts stand in the training rows too": "{m} 个留出的提示中有 {n} 个也在训练数据里",
    "{n} of {m} rows dropped": "{m} 条中丢弃 {n} 条",
    "{n} of {m} rows changed": "{m} 条中修改 {n} 条",
    "{n} of {m} rows found, nothing done": "{m} 条中发现 {n} 条，未处理",
    "{n} of {m} rows dropped ({kinds})": "{m} 条中丢弃 {n} 条（{kinds}）",
    "{n} of {m} rows changed ({kinds})": "{m} 条中修改 {n} 条（{kinds}）",
    "{n} of {m} rows found, nothing done ({kinds})": "{m} 条中发现 {n} 条，未处理（{kinds}）",
    "no row is longer than {n} tokens and cut": "没有数据超过 {n} 个词元而被截断",
    "{n} of {m} rows to {t} tokens; {k} ({s}) lose the end of their answer": (
        "{m} 条中 {n} 条截到 {t} 个词元；{k} 条（{s}）失去回答的结尾"
    ),
    "half up to {a}, 95 % up to {b}, longest {c}": "一半不超过 {a}，95% 不超过 {b}，最长 {c}",
    "{n}: {m} samples × {e} epochs / {b} a batch": "{n} 次：{m} 个样本 × {e} 轮 / 每批 {b} 个",
    "{n}: {m} samples × {e} epochs / {b} a batch, at most {k}": "{n} 次：{m} 个样本 × {e} 轮 / 每批 {b} 个，至多 {k} 次",
    "samples are bounded to the model's {n} tokens (data.max_length is {m})": (
        "样本以模型的 {n} 个词元为限（data.max_length 是 {m}）"
    ),
}

CLEANING = {
    "mojibake": "乱码",
    "control characters": "控制字符",
    "unicode": "Unicode 规范形式",
    "personal data": "个人信息",
    "too short": "太短",
    "repeats": "自我重复",
    "wrong language": "语言不符",
    "in held out": "也在留出数据中",
    "exact duplicates": "完全重复",
    "same prompt": "提示相同",
    "near duplicates": "近似重复",
    "equals {source}": "与 {source} 完全相同",
    "asks the same as {source} and answers something else": "与 {source} 提问相同而回答不同",
    "the prompt is that of a held-out row ({source})": "提示与某条留出数据相同（{source}）",
    "the answer is in {code} (confidence {c}), not in {codes}": "回答的语言是 {code}（把握 {c}），不在 {codes} 之中",
    "turn {n} ({role}) is empty": "第 {n} 轮（{role}）是空的",
    "{n} characters, below data.clean.min_characters={m}": "{n} 个字符，少于 data.clean.min_characters={m}",
    "{n} characters, above data.clean.max_characters={m}": "{n} 个字符，多于 data.clean.max_characters={m}",
    "nearly equals {source} (similarity about {s})": "与 {source} 几乎相同（相似度约 {s}）",
    "{words} make up {a} of the text, more than {b}": "{words}占全文的 {a}，超过 {b}",
    "repeated lines": "重复的行",
    "repeated paragraphs": "重复的段落",
    "characters in {words}": "{words}中的字符",
    "the commonest run of {n} words": "最常见的 {n} 词串",
    "repeated runs of {n} words": "重复的 {n} 词串",
    "{n} whole tokens, longer than data.max_length={m}": "共 {n} 个词元，超过 data.max_length={m}",
    "{n} tokens, longer than data.max_length={m}": "{n} 个词元，超过 data.max_length={m}",
    "no token of an answer is left within data.max_length={n}": "在 data.max_length={n} 以内，回答一个词元也不剩",
}

PREPARED = {
    "{name}: all {n} rows fell into the held-out share; lower data.held_out.": (
        "{name}：{n} 条数据全部分到了留出的部分；请调小 data.held_out。"
    ),
    "{name}: cleaning left no row to train on; look at data.clean.": (
        "{name}：清洗之后没有剩下可训练的数据；请检查 data.clean。"
    ),
    "{name}: the tokenised data is larger than data.cache_gb={n} allows.": (
        "{name}：分词后的数据超出了 data.cache_gb={n}。"
    ),
    "Raise it, use fewer rows with data.limit, or read them as a stream with data.streaming=true.": (
        "请调大它，用 data.limit 减少数据，或用 data.streaming=true 流式读取。"
    ),
    (
        "{n} of {m} rows ({s}) lose the end of their answer or text at data.max_length={t}; data.cut_answers={a} allows "
        "{b}."
    ): "{m} 条数据中有 {n} 条（{s}）在 data.max_length={t} 处失去回答或文本的结尾；data.cut_answers={a} 只允许 {b}。",
    (
        "Raise data.max_length, or choose data.too_long=split (texts and dialogues become several samples) or drop, or "
        "allow it with data.cut_answers=1."
    ): (
        "请调大 data.max_length，或选择 data.too_long=split（文本和对话变成几个样本）或 drop，"
        "或用 data.cut_answers=1 允许。"
    ),
    "{n} samples are longer than data.max_length={t}; the longest is {source} with {m} tokens.": (
        "{n} 个样本超过 data.max_length={t}；最长的是 {source}，有 {m} 个词元。"
    ),
    "Raise data.max_length, or choose data.too_long=cut, split or drop.": (
        "请调大 data.max_length，或选择 data.too_long=cut、split 或 drop。"
    ),
    (
        "{name}: no sample has a token to train on. The first ({source}) has {n} tokens, of which {m} belong to an "
        "answer within data.max_length={t}."
    ): (
        "{name}：没有一个样本含有可训练的词元。第一个（{source}）有 {n} 个词元，"
        "其中在 data.max_length={t} 以内属于回答的有 {m} 个。"
    ),
    (
        "Raise data.max_length above the length of the prompts, or look at the rendering with `lorafit data`."
    ): "请把 data.max_length 调到超过提示的长度，或用 `lorafit data` 查看渲染结果。",
    "The chat template ({name}) refuses turns {roles}: {text}": "对话模板（{name}）拒绝 {roles} 这样的轮次：{text}",
    "data.template: {path} cannot be read: {text}": "data.template：{path} 无法读取：{text}",
    "data.template: {value} is neither a file nor one of {names}.": "data.template：{value} 既不是文件，也不是 {names} 之一。",
    "Use one of these, or the path of a Jinja template.": "请用其中之一，或 Jinja 模板的路径。",
    (
        "data.template: chatml needs the tokens <|im_start|> and <|im_end|>, which this tokenizer does not have."
    ): "data.template：chatml 需要词元 <|im_start|> 和 <|im_end|>，而这个分词器没有。",
    "Use human-assistant or alpaca.": "请用 human-assistant 或 alpaca。",
    (
        "data.template: {name} ends answers with the end-of-text token, which this tokenizer lacks."
    ): "data.template：{name} 以文本结束词元结束回答，而这个分词器没有它。",
    "data.clean.{rule} needs the package {package}, which is not installed.": (
        "data.clean.{rule} 需要软件包 {package}，而它没有安装。"
    ),
    "Install it with `{command}` (or `{other}`), or set data.clean.{rule}=off.": (
        "请用 `{command}`（或 `{other}`）安装，或设置 data.clean.{rule}=off。"
    ),
    "wrong_language needs the languages to keep: set languages, such as [en, zh]": (
        "wrong_language 需要知道保留哪些语言：请设置 languages，例如 [en, zh]"
    ),
    "personal_data needs the kinds to look for: set personal_kinds, such as [email, phone]": (
        "personal_data 需要知道查找哪些种类：请设置 personal_kinds，例如 [email, phone]"
    ),
    "The files of data.train have changed while they were trained on: window {n} has {m} samples and had {k}.": (
        "训练期间 data.train 的文件发生了变化：第 {n} 个窗口有 {m} 个样本，原来是 {k} 个。"
    ),
    "Put back what was, and resume the run.": "请恢复原来的文件，再继续训练。",
    "A process that tokenises rows ended before its time (exit code {n}).": "分词进程提前结束（退出码 {n}）。",
    "The system may have stopped it for want of memory.": "可能是系统因内存不足终止了它。",
    "Run again with fewer, by data.processes=1 (or 0 for none).": "请用 data.processes=1（或 0，不用）减少进程后重试。",
    "{name}: {n} rows (data.stream_window) are larger than a third of data.cache_gb={m}.": (
        "{name}：{n} 条数据（data.stream_window）超过了 data.cache_gb={m} 的三分之一。"
    ),
    "Raise it, or lower data.stream_window.": "请调大它，或调小 data.stream_window。",
    "{name} is a slow tokenizer, which cannot say where a token stands in the text.": (
        "{name} 是慢速分词器，无法说明词元在文本中的位置。"
    ),
    "Use a model that ships tokenizer.json.": "请使用带 tokenizer.json 的模型。",
    "data.template: this tokenizer has several chat templates ({names}), none of them the default one.": (
        "data.template：这个分词器有几个对话模板（{names}），没有默认的。"
    ),
    "Write the one you want to a file and name it with data.template.": "请把需要的那个存为文件，并写在 data.template 中。",
    "{code} is no language code; write codes such as en, zh, ja, ko": "{code} 不是语言代码；请写 en、zh、ja、ko 这样的代码",
    "data.held_out={n} is a share of the training data: there is no held-out file to read.": (
        "data.held_out={n} 是训练数据的比例：没有留出文件可读。"
    ),
    (
        "an answer cannot be found in the rendering of the chat template ({name}), because the template rewrites it."
    ): "在对话模板（{name}）的渲染结果中找不到回答，因为模板改写了它。",
    "Name another one with data.template.": "请用 data.template 指定另一个模板。",
}

SENTENCES: dict[str, str] = PROBLEMS | BASE | REASONS | LINES | CLEANING | PREPARED
