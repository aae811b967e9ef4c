"""Chinese of the steps model and data of a new run."""

CHINESE: dict[str, str] = {
    "{step}: still open": "{step}：尚未选择",
    # the model
    "Which model do you start from?": "从哪个模型开始？",
    "Choose a model": "选择模型",
    "The model itself stays as it is: what it learns is kept beside it.": "模型本身保持不变：学到的内容另外存放。",
    "Built-in": "内置模型",
    "tiny, comes with lorafit: to try everything in minutes": "很小，随 lorafit 附带：几分钟就能全部试一遍",
    "Or a name on Hugging Face, or a folder of the workspace": "或填写模型名称，或工作区里的文件夹",
    "Hub": "模型站",
    "Look at it": "查看",
    "a base that you have used here": "在这里用过的基座",
    "a folder of the workspace": "工作区里的文件夹",
    "New to this? Begin with the built-in model; then take one of 0.5 to 8 billion parameters.": (
        "第一次使用？先用内置模型试试，然后选一个 5 亿到 80 亿参数的模型。"
    ),
    "Looking at {name} …": "正在查看 {name}……",
    "Parameters": "参数量",
    "Layers": "层数",
    "{width} wide": "宽度 {width}",
    "Context": "上下文长度",
    "tokens (pieces of words) at once, at most": "一次最多的词元（词的片段）数",
    "Vocabulary": "词表",
    "tokens": "词元",
    "It looks like a plain base: it goes on with texts, and learns to answer from your data.": (
        "看起来是纯基座模型：它会续写文本，并从你的数据中学会回答。"
    ),
    "It looks like a chat model: it answers already, and your data changes how.": (
        "看起来是对话模型：它已经会回答，你的数据会改变它回答的方式。"
    ),
    "It may be a chat model that answers already: its name and files do not tell for certain.": (
        "它可能是已经会回答的对话模型：从名称和文件无法确定。"
    ),
    "Without a chat template of its own, questions and answers are written in the form “{name}”.": (
        "它没有自带对话模板：问答按 {name} 的格式书写。"
    ),
    "It brings its own chat template; an answer ends with {token}.": "它自带对话模板；回答以 {token} 结束。",
    "Nothing to download: it comes with lorafit ({size}).": "无需下载：随 lorafit 附带（{size}）。",
    "Nothing to download: its weights are on this disk ({size}).": "无需下载：权重已在本机磁盘上（{size}）。",
    "Its weights, about {size}, are downloaded when the run starts.": "训练开始时会下载权重，约 {size}。",
    "Training will need it: tokens cannot be counted without.": "训练需要它：没有它就无法计算词元。",
    "its tokenizer brings no chat template": "它的分词器没有对话模板",
    "its tokenizer brings a chat template": "它的分词器带有对话模板",
    # the data
    "What should it learn from?": "用什么来教它？",
    "Choose the data": "选择数据",
    "questions with answers, conversations, or texts": "问答、对话或文本",
    "Built-in data": "内置数据",
    "some 1,000 questions and answers, to try with": "约 1,000 条问答，供试用",
    "Or a file, a folder, a pattern, or a data set on Hugging Face": (
        "或填写文件、文件夹、通配符，或 Hugging Face 上的数据集"
    ),
    "Drop a file here": "把文件拖到这里",
    "Drop a file here: JSON, JSONL, CSV, Parquet, or documents such as PDF and Markdown.": (
        "把文件拖到这里：JSON、JSONL、CSV、Parquet，或 PDF、Markdown 等文档。"
    ),
    "Choose a file …": "选择文件……",
    "This file is too large to upload. Copy it into the workspace folder, and choose it there.": (
        "这个文件太大，无法上传。请把它复制到工作区文件夹，再在那里选择。"
    ),
    "The upload did not arrive. Try it again.": "上传未完成，请重试。",
    "uploaded just now": "刚刚上传",
    "Reading the data as the model will see it …": "正在按模型看到的样子读取数据……",
    "Choose a model first: its tokens and its template decide what it sees of the data.": (
        "请先选择模型：它的词元和模板决定它看到的数据。"
    ),
    "To the model": "去选择模型",
    "Name the columns: More settings, data.columns": "指定各列：更多设置，data.columns",
    # the report
    "What is wrong with the data": "数据有什么问题",
    "{count} rows cannot be used, and a run stops at them; they are named below.": (
        "有 {count} 行无法使用，训练会因此停止；这些行列在下面。"
    ),
    "Leave these rows out": "忽略这些行",
    "Nothing was found.": "没有发现问题。",
    "What mends it: {setting}": "可以这样改正：{setting}",
    "Set {setting}": "设置 {setting}",
    "What is in it": "数据内容",
    "Rows read": "读取的行",
    "Training samples": "训练样本",
    "{count} tokens": "{count} 个词元",
    "Trained on": "参与训练",
    "of the tokens: the answers": "的词元：即回答部分",
    "Held out": "留出",
    "samples, to measure with": "条样本，用于衡量效果",
    "Updates": "更新次数",
    "in {epochs} passes": "共 {epochs} 遍",
    "Languages of the answers: {languages}": "回答的语言：{languages}",
    "Template: {name}": "模板：{name}",
    "Whole samples, in tokens": "整条样本的词元数",
    "Answers, in tokens": "回答的词元数",
    "half up to {half}, 95 % up to {most}, the longest {longest}": (
        "一半不超过 {half}，95% 不超过 {most}，最长 {longest}"
    ),
    "samples": "样本",
    "Rows to measure with": "用来衡量的行",
    "not trained on, so that they tell what was really learnt": "不参与训练，因此能反映真正学到了什么",
    "They come from {name}.": "它们来自 {name}。",
    "Percent of the rows, split off by their prompts": "占全部行的百分比，按提示划分",
    "Split off a share of the training rows instead": "改为从训练行中划分一部分",
    "Samples, as the model sees them": "模型看到的样本",
    "Previous sample": "上一条样本",
    "Next sample": "下一条样本",
    "Sample": "样本",
    "The sample's text": "样本文本",
    "trained on": "参与训练",
    "only read": "仅供阅读",
    "{file}, row {row}": "{file}，第 {row} 行",
    "{tokens} tokens, {trained} of them trained on": "{tokens} 个词元，其中 {trained} 个参与训练",
    "the first": "第一条",
    "the longest": "最长的",
    "the shortest answer": "回答最短的",
    "one of the others": "其他样本之一",
    "Rows that are left out": "被忽略的行",
    "{count} in all": "共 {count} 行",
    "Where": "位置",
    "What is wrong": "问题",
    "… and {count} more": "……另有 {count} 行",
}
