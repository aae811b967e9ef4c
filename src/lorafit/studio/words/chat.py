"""Chinese of the screen `chat`."""

CHINESE: dict[str, str] = {
    "New conversation": "新的对话",
    # who answers
    "Who answers": "由谁回答",
    "Runs and base models": "训练记录和基座模型",
    "Choose one or several: each answers the same question in a column of its own. Runs of one base share "
    "its memory.": ("可选一个或多个：它们各占一列，回答同一个问题。同一基座上的训练共用一份内存。"),
    "{name} (base, not tuned)": "{name}（基座，未微调）",
    "{name} (a model of its own)": "{name}（独立的模型）",
    "Choose who answers first.": "请先选择由谁回答。",
    # the models in memory
    "not loaded": "未加载",
    "in memory": "已在内存中",
    "loading": "加载中",
    "Load now": "现在加载",
    "The first question loads it too.": "提第一个问题时也会自动加载。",
    "Free its memory": "释放内存",
    "Other work runs on this machine: a model that is loaded now shares its memory.": (
        "这台机器上还有别的任务在运行：现在加载的模型会与它共用内存。"
    ),
    "The model is being loaded … {line}": "正在加载模型…… {line}",
    # settings
    "How they answer": "回答方式",
    "System prompt": "系统提示",
    "Stands before the conversation: who the model is, how it should answer. Best the one of the training data, and "
    "none where that had none.": (
        "放在对话之前：说明模型是谁、应怎样回答。最好与训练数据中的一致；训练数据里没有，这里就留空。"
    ),
    "Temperature": "温度",
    "0 takes the likeliest word each time: the same question, the same answer. 0.7 is livelier; far above 1 is "
    "nonsense.": ("0：每次都取最可能的词，同样的问题得到同样的回答。0.7 更活泼；远大于 1 就会胡言乱语。"),
    "Top-p": "Top-p",
    "Draws only from the likeliest words that have this share together. 1 is all of them. Matters only above "
    "temperature 0.": "只从概率合计达到这一比例的最可能的词中抽取。1 表示全部。仅在温度大于 0 时有作用。",
    "Longest answer (tokens)": "回答的最大长度（词元）",
    "An answer is cut there. 100 tokens are about 75 English words.": (
        "回答到此截断。100 个词元（token）大约是 75 个英文单词，或 60 到 150 个汉字，因模型而异。"
    ),
    "Seed": "随机种子",
    "A number draws the same answer again; empty draws another one each time. Matters only above temperature 0.": (
        "填一个数，可再次抽到同样的回答；留空则每次不同。仅在温度大于 0 时有作用。"
    ),
    "{name} has to be from {low} to {high}.": "{name}应在 {low} 到 {high} 之间。",
    # templates
    "The template they are asked with": "提问所用的模板",
    "A base is asked with the template that its tokenizer brings, or a plain one.": (
        "基座模型使用其分词器自带的模板；没有自带时使用简单的模板。"
    ),
    "Template of its training: {name}": "训练时的模板：{name}",
    "Chat template": "对话模板",
    # asking
    "Ask a question, and compare what they say.": "提一个问题，比较它们的回答。",
    "Ask something": "说点什么",
    "Your question": "你的问题",
    "Enter sends, Shift+Enter makes a new line.": "按 Enter 发送，按 Shift+Enter 换行。",
    "Send": "发送",
    # an answer
    "corrected": "已修改",
    "Good answer": "回答得好",
    "Bad answer": "回答得不好",
    "Correct the answer": "修改回答",
    "What the answer should have been": "正确的回答应当是",
    "A corrected answer cannot be empty.": "修改后的回答不能为空。",
    "Take the correction": "采用修改",
    "Keep as data": "存为数据",
    "Kept as data": "已存为数据",
    "Wait for the answers, or stop them: then this can be sent.": "请等回答完成，或先停止：之后即可发送。",
    "{tokens} tokens, {seconds} s": "{tokens} 个词元，{seconds} 秒",
    "cut off at the longest answer that is set": "已达到所设的最大长度而截断",
    "stopped": "已停止",
    "the answer is empty": "回答为空",
    # data
    "Corrected answers as data": "把修改过的回答存为数据",
    "Correct an answer with the pencil, then keep it: the conversation up to it becomes a row of a data set that a "
    "next run can learn from. Earlier answers in it are learned from only where you corrected them or rated "
    "them as good.": (
        "用铅笔按钮修改回答，再存下来：到这条回答为止的对话就成为数据集的一行，供以后的训练学习。"
        "其中较早的回答，只有经你修改或评为“好”的才会被学习。"
    ),
    "Name of the data set": "数据集名称",
    "Rows in {file}: {rows}": "{file} 中的行数：{rows}",
    "Use as data of a new run": "用作新训练的数据",
}
