"""Chinese of the advice: its choice, reasons, warnings, notes, tasks and sources (advise/*.py)."""

TASKS = {
    "answers to instructions": "按指令回答",
    "knowledge from texts": "从文本学习知识",
    "code": "代码",
    "a role or a style": "角色或风格",
    "answers in JSON": "用 JSON 回答",
    "classes as answers": "以类别作答",
    "from rank 16 on more rank gained nothing there": "在那里，秩超过 16 之后不再有收益",
    "low ranks learnt much less than full fine-tuning there": "在那里，低秩学到的远少于全量微调",
    "classes are few bits; half of the usual 16": "类别只含很少的信息；取常用值 16 的一半",
    "as asked": "按你的选择",
    "as asked; the data looks like {words1}: {words2}": "按你的选择；数据看起来像{words1}：{words2}",
    "assistant": "助手",
    "domain": "领域知识",
    "style": "角色或风格",
    "json": "JSON 输出",
    "classification": "分类",
    "{n} of {m} rows come from source files": "{m} 条数据中有 {n} 条来自源代码文件",
    "{n} of {m} rows are texts without a question": "{m} 条数据中有 {n} 条是没有问题的文本",
    "{n} of {m} answers are JSON": "{m} 个回答中有 {n} 个是 JSON",
    "{n} answers are only {m} different ones, of {k} characters at most": ("{n} 个回答只有 {m} 种，最长 {k} 个字符"),
    "{n} of {m} answers hold code": "{m} 个回答中有 {n} 个含有代码",
    "{n} of {m} rows have the same system prompt, of {k} characters": (
        "{m} 条数据中有 {n} 条使用同一个系统提示（{k} 个字符）"
    ),
    (
        "{n} answers that are neither JSON nor code nor a few classes, and no role that all rows share"
    ): "{n} 个回答既不是 JSON 或代码，也不是少数几个类别，而且没有共同的角色",
    "--task {text} is not known.": "--task {text} 不存在。",
    "There are: {names}.": "可选：{names}。",
}

CHOICE = {
    (
        "{name} with {words}: of the adapters that fit the fastest; within 12 % the one that changes the base least."
    ): "{name}，用 {words}：在放得下的适配器方案中最快；相差 12% 以内时取对基座改动最小的。",
    (
        "{name} with {words}: the largest of these bases that fits. Beside {other} with {words1} an update takes "
        "{words2}, and {a} instead of {b}. In the QLoRA paper larger bases in 4 bits answered better than smaller "
        "ones in 16; on your data only a comparison tells."
    ): (
        "{name}，用 {words}：这些基座中放得下的最大的一个。与 {other} 用 {words1}相比，一次更新{words2}，"
        "需要 {a} 而不是 {b}。QLoRA 论文中，4 位的大基座比 16 位的小基座回答得更好；在你的数据上如何，要比较才知道。"
    ),
    "{n} times the time": "要 {n} 倍的时间",
    "more time": "要更多时间",
    "{name} with {words}: of these bases no other fits.": "{name}，用 {words}：这些基座中其他的都放不下。",
    "{name} with {words}: no larger base fits.": "{name}，用 {words}：更大的基座放不下。",
    "{n} updates; how long they take cannot be said, as the device's speed is not known": (
        "{n} 次更新；设备速度未知，说不出要多久"
    ),
    "{n} updates, {words} by the plan, without loading": "{n} 次更新，按规划需 {words}，不含加载",
}

WARNINGS = {
    (
        "{n} rows are few: they can teach a form or a tone, hardly knowledge, and that cannot be measured well. LIMA "
        "had 1,000 chosen ones; `lorafit data generate` makes more from texts."
    ): (
        "{n} 条数据很少：能教会格式或语气，很难教会知识，而且效果难以测准。"
        "LIMA 用了 1,000 条精选数据；`lorafit data generate` 可以从文本生成更多。"
    ),
    "Only {n} updates: fewer than {m} hardly change a model. Bring more rows.": (
        "只有 {n} 次更新：少于 {m} 次几乎改变不了模型。请增加数据。"
    ),
    "{words} is tight: {a} of {b}. Where it runs out of memory, it goes on with smaller passes.": (
        "{words}很紧：共 {b}，需要 {a}。内存不够时，会改用更小的每趟词元数继续。"
    ),
    (
        "Texts alone teach how they are written, and not to answer questions about them: train on questions next "
        "(`lorafit data generate`, recipes/domain.yaml)."
    ): (
        "只用文本训练，学到的是写法，而不是回答有关它们的问题：接下来请用问答训练"
        "（`lorafit data generate`，recipes/domain.yaml）。"
    ),
    "{n} rows cannot be used and stop the run: `lorafit data` names them (data.bad_rows).": (
        "{n} 条数据无法使用，会使训练停止：`lorafit data` 会列出它们（data.bad_rows）。"
    ),
    "Tokens were counted with the first base's tokenizer; another base's differ somewhat.": (
        "词元数按第一个基座的分词器统计；其他基座的略有不同。"
    ),
    "`lorafit train` will download {name}; its weights were not looked at.": (
        "`lorafit train` 会下载 {name}；这里没有看它的权重。"
    ),
    "the tokens are counted with the tokenizer of {name}, as asked": "按你的要求，词元数用 {name} 的分词器统计",
    (
        "{name}'s own tokenizer is not at hand, so lorafit's built-in one counts, which makes up to 2.5 times as many "
        "tokens: lengths and memory are on the safe side. Name a better one with --tokenizer. ({text})"
    ): (
        "手头没有 {name} 自己的分词器，因此用 lorafit 内置的来统计，词元数最多会是 2.5 倍："
        "长度和内存的估计偏保守。可用 --tokenizer 指定更合适的。（{text}）"
    ),
    (
        "No method trains {name} on {device}: the least, {words}, needs {a} of {b} with samples of up to {n} tokens "
        "and rank {r}."
    ): "在 {device} 上没有方法能训练 {name}：最省的 {words}，样本最长 {n} 个词元、秩 {r} 时，共 {b}，却需要 {a}。",
    "No shorter samples, smaller rank or known model would fit.": "缩短样本、减小秩或换已知的其他模型也放不下。",
    "QLoRA (4 bits) fits with {settings}": "QLoRA（4 位）加上 {settings} 就放得下",
    "QLoRA (4 bits) fits with every layer computed again": "QLoRA（4 位）重算每一层就放得下",
    "{name} fits with QLoRA (4 bits)": "{name} 用 QLoRA（4 位）放得下",
}

REASONS = {
    "The base: {n} parameters, made for {m} tokens.": "基座：{n} 个参数，支持 {m} 个词元。",
    "The base: {n} parameters.": "基座：{n} 个参数。",
    "{words} needs {a} of {b} and fits.": "{words}共 {b}，需要 {a}，放得下。",
    "{words} needs {a} of {b} and fits, with part of the layers computed again.": (
        "{words}共 {b}，需要 {a}，重算部分层后放得下。"
    ),
    "{words} needs {a} of {b}: more than {s} of it, so it is tight.": "{words}需要 {a}，超过 {b} 的 {s}，因此很紧。",
    "16 bits would not fit ({a})": "16 位放不下（{a}）",
    "8 bits would not fit ({a})": "8 位放不下（{a}）",
    "4 bits would not fit ({a})": "4 位放不下（{a}）",
    "16 bits would be tight ({a})": "16 位会很紧（{a}）",
    "8 bits would be tight ({a})": "8 位会很紧（{a}）",
    "4 bits would be tight ({a})": "4 位会很紧（{a}）",
    "{n} bits would need {a} more": "{n} 位要多用 {a}",
    "{n} bits would need {a} less": "{n} 位可少用 {a}",
    "{n} bits would need {a} more and take {m} times as long": "{n} 位要多用 {a}，耗时是 {m} 倍",
    "{n} bits would need {a} less and take {m} times as long": "{n} 位可少用 {a}，耗时是 {m} 倍",
    "{n} bits would need {a} more and take as long": "{n} 位要多用 {a}，耗时相同",
    "{n} bits would need {a} less and take as long": "{n} 位可少用 {a}，耗时相同",
    "{n} trained tokens are more than an adapter of rank {r} holds, and full fine-tuning fits.": (
        "{n} 个参与训练的词元超过了秩 {r} 的适配器所能容纳的，而全量微调放得下。"
    ),
    "{n} texts; {t} tokens, {s} of them trained on.": "{n} 段文本；{t} 个词元，其中 {s} 个参与训练。",
    "{n} dialogues; {t} tokens, {s} of them trained on.": "{n} 个对话；{t} 个词元，其中 {s} 个参与训练。",
    "{n} dialogues, {a} of the first {b} of several turns; {t} tokens, {s} of them trained on.": (
        "{n} 个对话，前 {b} 个中有 {a} 个是多轮的；{t} 个词元，其中 {s} 个参与训练。"
    ),
    "The built-in data brings held-out rows.": "内置数据自带留出的数据。",
    "{n} rows are too few to put some aside: look at answers.": "{n} 条数据太少，不宜再留出：请直接看回答。",
    (
        "About {n} of {m} rows: {a} to {b} are aimed at: a steady figure that is soon measured, but at most 20 %."
    ): "{m} 条中约 {n} 条：目标是 {a} 至 {b} 条，数字稳定又很快测完，但至多 20%。",
    "Half of the samples have up to {a} tokens, 99 % up to {b}, the longest {c}.": (
        "一半样本不超过 {a} 个词元，99% 不超过 {b}，最长 {c}。"
    ),
    "Half of the samples have up to {a} tokens, 99 % up to {b}, the longest {c}: {words}.": (
        "一半样本不超过 {a} 个词元，99% 不超过 {b}，最长 {c}：{words}。"
    ),
    "Half of the samples have up to {a} tokens, 99 % up to {b}, the longest {c}; {s} are longer than this: {words}.": (
        "一半样本不超过 {a} 个词元，99% 不超过 {b}，最长 {c}；{s} 比这更长：{words}。"
    ),
    "the base takes no more": "基座不接受更长的",
    "one long row would cost memory": "一条长数据就会占用内存",
    "A longer text becomes several samples.": "更长的文本会变成几个样本。",
    "A cut answer would not show how it ends.": "截断的回答看不出如何结束。",
    "{n} weights for {m} trained tokens: {words}.": "{n} 个权重对应 {m} 个参与训练的词元：{words}。",
    "the narrowest layer has no more columns": "最窄的层没有更多的列",
    "more would not be fed by them": "再多，数据就喂不饱了",
    "a smaller rank would not hold them": "更小的秩装不下它们",
    "For {words1}: {words2}. {n} weights for {m} trained tokens.": (
        "用于{words1}：{words2}。{n} 个权重对应 {m} 个参与训练的词元。"
    ),
    (
        "Twice the rank, so that the scale alpha/rank stays 2 whatever the rank; that it is 2 is a habit."
    ): "秩的两倍，这样不管秩是多少，缩放 alpha/rank 都是 2；取 2 是惯例。",
    "Every linear layer: fewer kinds of layers learn less.": "所有线性层：层的种类少，学到的也少。",
    "{n} rows are seen {e} times each and could be learnt by heart.": "{n} 条数据每条看 {e} 遍，可能被死记硬背。",
    "None: {n} rows, each seen {e} time, are not soon learnt by heart.": (
        "不用：{n} 条数据，每条看 {e} 遍，不会很快被死记硬背。"
    ),
    "None: {n} rows, each seen {e} times, are not soon learnt by heart.": (
        "不用：{n} 条数据，每条看 {e} 遍，不会很快被死记硬背。"
    ),
    "{n} rows × {e} / {b} = {u} updates.": "{n} 条 × {e} / {b} = {u} 次更新。",
    "Larger batches cost an adapter quality.": "更大的批会降低适配器的质量。",
    "Smaller than the usual {n}, so that few rows make enough updates.": (
        "比常用的 {n} 小，好让少量数据也有足够的更新次数。"
    ),
    "The rate falls to zero, so that the last updates settle.": "学习率降到零，使最后的更新稳定下来。",
    "{n} of {m} updates.": "{m} 次更新中的 {n} 次。",
    "{n} rows alone make too few updates; small chosen sets bear many passes.": (
        "{n} 条数据只过几遍，更新次数太少；精选的小数据集经得起多遍。"
    ),
    "{n} rows: 3 passes up to 10,000 rows, 2 up to 50,000, then 1. The best held-out point is kept.": (
        "{n} 条数据：10,000 条以内 3 遍，50,000 条以内 2 遍，再多 1 遍。保留留出集损失最好的时刻。"
    ),
    "No rows are held out.": "没有留出的数据。",
    "About every {n} updates, ten times a run.": "大约每 {n} 次更新一次，整个训练十次。",
    "A tenth of an adapter's {r}, which is {words}.": "适配器学习率 {r} 的十分之一，该值是{words}。",
    "{n} parameters: {words}.": "{n} 个参数：{words}。",
    "the rate that did well on the smallest bases": "在最小的基座上表现好的学习率",
    "between 4e-3, which did well on 3 million, and what is usual from 100 million": (
        "介于 4e-3（在 300 万参数上表现好）与 1 亿参数以上的常用值之间"
    ),
    "the middle of what is usual at this size": "这种大小的常用范围的中间值",
    "as QLoRA has it up to 13B": "QLoRA 在 13B 以下的取值",
    "as QLoRA has it from 33B on": "QLoRA 在 33B 以上的取值",
    "99 % of the answers have up to {a} tokens, the longest {b}.": "99% 的回答不超过 {a} 个词元，最长 {b}。",
    (
        "The usual 8 answers say little as a score; {n} say how far apart base and tuned model are."
    ): "默认的 8 个回答作为分数说明不了什么；{n} 个才能看出基座与微调后的模型相差多少。",
    "They tell how good {words} are (docs/metrics.md).": "它们能衡量“{words}”做得有多好（docs/metrics.md）。",
}

SOURCES = {
    "your data": "你的数据",
    "counted as `lorafit data` counts": "与 `lorafit data` 的统计方式相同",
    "its config.json": "它的 config.json",
    "the base as it will be built, counted without weights": "按将要构建的基座统计，不读权重",
    "the plan": "规划",
    "the training step simulated for the device, as `lorafit plan` does (docs/planning.md)": (
        "像 `lorafit plan` 那样为该设备模拟训练步骤（docs/planning.md）"
    ),
    "convention": "惯例",
    "a habit of the field: no paper and no measurement of ours stands behind it": (
        "业界惯例：背后没有论文，也没有我们自己的测量"
    ),
    "arXiv 2106.09685, table 18": "arXiv 2106.09685，表 18",
    (
        "GPT-2 Medium on E2E: the held-out loss falls from 1.23 at rank 1 to 1.16 at rank 16 and no further up to "
        "1,024; BLEU is best at rank 4"
    ): "GPT-2 Medium 在 E2E 上：留出集损失从秩 1 的 1.23 降到秩 16 的 1.16，直到 1,024 都不再下降；BLEU 在秩 4 时最好",
    "arXiv 2305.14314, table 9": "arXiv 2305.14314，表 9",
    (
        "learning rate 2e-4 up to 13B and 1e-4 for 33B and 65B; dropout 0.1 up to 13B and 0.05 above; 16 examples an "
        "update; the learning rate constant"
    ): ("学习率：13B 以下 2e-4，33B 和 65B 为 1e-4；随机丢弃：13B 以下 0.1，以上 0.05；每次更新 16 个样本；学习率恒定"),
    "arXiv 2305.14314, section 4": "arXiv 2305.14314，第 4 节",
    (
        "4-bit bases matched 16-bit ones once adapters were on every linear layer; the rank then hardly mattered; with "
        "a given memory, more parameters in fewer bits answered better (MMLU, Elo)"
    ): (
        "适配器加在所有线性层上时，4 位基座与 16 位的相当；此时秩几乎不影响结果；"
        "内存一定时，参数更多而位数更少的回答更好（MMLU、Elo）"
    ),
    (
        "dividing by the rank with alpha fixed slows the learning of higher ranks; so alpha has to grow with the rank"
    ): "alpha 固定而除以秩，会拖慢高秩的学习；因此 alpha 要随秩增大",
    (
        "7B on code and mathematics, 100,000 instructions or 20 billion tokens of text: usual low ranks learn "
        "substantially less than full fine-tuning and forget less; LoRA keeps the base better than dropout or weight "
        "decay"
    ): (
        "7B 在代码和数学上，10 万条指令或 200 亿词元的文本：常用的低秩学到的明显少于全量微调，遗忘也更少；"
        "LoRA 比随机丢弃或权重衰减更能保住基座"
    ),
    (
        "65B, all weights, 1,000 chosen rows, 15 epochs; answers still became better while the held-out loss rose"
    ): "65B，训练所有权重，1,000 条精选数据，15 轮；留出集损失上升时回答仍在变好",
    "Thinking Machines, 2025": "Thinking Machines，2025",
    (
        "LoRA equals full fine-tuning on small and medium data if it is on every layer, at about 10 times its learning "
        "rate; large batches cost LoRA more"
    ): "在中小数据上，LoRA 加在所有层、学习率约为十倍时与全量微调相当；大的批对 LoRA 损害更大",
    "capacity": "容量",
    (
        "a weight holds about two bits, a trained token brings about one: a rough count, as the doctor makes it "
        "(docs/doctor/rank-too-small.md)"
    ): "一个权重约容纳两比特，一个参与训练的词元约带来一比特：粗略的估计，与诊断所用的相同（docs/doctor/rank-too-small.md）",
    "our runs": "我们的训练",
    "4e-3 taught a base of 3M parameters its task, 5e-3 one of 260K": (
        "4e-3 教会了 300 万参数的基座，5e-3 教会了 26 万参数的"
    ),
    "the doctor": "诊断",
    (
        "from 100 million parameters on 2e-5 to 5e-3 is usual; between its bounds a guess of ours, not a measurement"
    ): "1 亿参数以上，2e-5 至 5e-3 是常用范围；范围之内的取值是我们的估计，不是测量结果",
    "our measurement": "我们的测量",
    "dropout costs 13 % of the time of an update": "随机丢弃会占一次更新 13% 的时间",
    "fewer than 40 updates hardly change a model; 60 are aimed at": "少于 40 次更新几乎改变不了模型；以 60 次为目标",
    "known shape": "已知结构",
}

SENTENCES: dict[str, str] = TASKS | CHOICE | WARNINGS | REASONS | SOURCES
