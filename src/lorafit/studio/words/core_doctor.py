"""Chinese of what the doctor of a run finds: titles, evidence, causes, remedies (observe/rules)."""

TITLES = {
    "The run stopped by itself": "训练自行停止了",
    "The system killed the run for memory": "系统因内存不足终止了训练",
    "The run was killed": "训练被终止了",
    "The loss rises": "损失在上升",
    "Gradients explode": "梯度爆炸",
    "The learning rate is too high": "学习率太高",
    "The loss swings": "损失来回摆动",
    "The learning rate is too low": "学习率太低",
    "The loss is flat": "损失没有变化",
    "The model learns its rows by heart": "模型在死记硬背（过拟合）",
    "Too few updates": "更新次数太少",
    "The run ended before the model had learnt": "模型还没学会，训练就结束了",
    "The batch is too small": "批太小",
    "The rank is too small": "秩太小",
    "The rank is larger than the data can feed": "秩太大，数据不足以支撑",
    "alpha is far off": "alpha 偏离太远",
    "The weight decay is extreme": "权重衰减过大",
    "The adapter is on too few layers": "适配器加在了太少的层上",
    "Embeddings are tuned on few rows": "用很少的数据训练嵌入层",
    "Dropout is missing on a small set": "小数据集上没有用随机丢弃",
    "Answers are cut": "回答被截断",
    "Answers never end": "回答停不下来",
    "Answers mean nothing": "回答没有意义",
    "GPU memory is nearly full": "显存快满了",
    "Memory creeps up": "内存占用不断增长",
    "The run slows down": "训练越来越慢",
    "The device waits for data": "设备在等数据",
}

ANSWERS = {
    (
        "{n} of {m} answers never end: the first was stopped at {a} characters, its reference has {b}."
    ): "{m} 个回答中有 {n} 个停不下来：第一个在 {a} 个字符处被截停，参考答案只有 {b} 个字符。",
    "The chat template ends an answer without a special token, so that there is no end to learn.": (
        "对话模板没有用特殊词元来结束回答，因此模型没有“结束”可学。"
    ),
    "Take a template that ends an answer with a token of its own.": "换一个用专门的词元结束回答的模板。",
    "{n} samples were cut within the answer: their end was never seen.": (
        "{n} 个样本在回答中间被截断：模型从没见过它们的结尾。"
    ),
    "Let the samples be longer.": "允许更长的样本。",
    "The end-of-turn token comes once an answer and is learnt late: training was too short or too weak.": (
        "结束词元在每个回答里只出现一次，学会得晚：训练时间太短或强度不够。"
    ),
    "Train longer; `lorafit resume` goes on from here.": "训练得更久一些；`lorafit resume` 可以从这里继续。",
    (
        "Of {n} answers {a} are empty, {b} repeat themselves over and over, and {c} have no word in common with their "
        "reference."
    ): "{n} 个回答中，{a} 个为空，{b} 个不断重复自己，{c} 个与参考答案没有一个词相同。",
    "The chat template asks for an answer with other tokens than those that stood before it in training.": (
        "对话模板在提问时用的词元，与训练时回答前面的词元不同。"
    ),
    "Take a template that asks as it trains.": "换一个提问方式与训练时一致的模板。",
    "Answers are cut in training: {words}": "训练时回答被截断：{words}",
    "Too few updates: {words}": "更新次数太少：{words}",
    "And yet the held-out loss fell from {a} to {b}.": "然而留出集损失却从 {a} 降到了 {b}。",
    (
        "A model that predicts well and answers badly is asked in another way than it was trained: look for the "
        "template at inference, and for prompts of another kind among the held-out rows."
    ): ("预测得好而回答得差，说明提问的方式与训练时不同：请检查推理时所用的模板，以及留出的数据里是否有另一类提示。"),
    "Compare `template.jinja` of the run folder with the template that the answers were asked with.": (
        "把训练文件夹里的 `template.jinja` 与提问所用的模板对比一下。"
    ),
    (
        "The held-out loss hardly fell: the model has not learnt to answer, or has been spoilt by too long steps."
    ): "留出集损失几乎没有下降：模型还没学会回答，或者被过大的步长破坏了。",
    "Mend what the loss shows first.": "先解决损失曲线反映出的问题。",
}

BEFORE = {
    "train.max_updates={n} stops the run after {m} updates.": "train.max_updates={n} 让训练在 {m} 次更新后停止。",
    "{n} rows × {e} epochs / {b} = {u} updates.": "{n} 条数据 × {e} 轮 / {b} = {u} 次更新。",
    "Fewer than {n} hardly change a model.": "少于 {n} 次几乎改变不了模型。",
    "Each update moves the weights by about the learning rate, so that so few cannot move them far.": (
        "每次更新使权重移动大约一个学习率的距离，次数这么少走不了多远。"
    ),
    "Make more updates of the same rows: smaller batches first, then more epochs.": (
        "用同样的数据做更多次更新：先减小批，再增加轮数。"
    ),
    (
        "Rank {r} makes {n} weights, which hold some {h} bits; {m} supervised tokens bring some {b}."
    ): "秩 {r} 有 {n} 个权重，大约能容纳 {h} 比特；{m} 个参与训练的词元大约带来 {b} 比特。",
    "The adapter cannot take up what is in the data; what is rare in it is lost first.": (
        "适配器装不下数据中的内容；少见的内容最先丢失。"
    ),
    "Raise the rank (with alpha, so that alpha/rank stays).": "调高秩（alpha 一起调，使 alpha/rank 不变）。",
    (
        "Rank {r} makes {n} weights for {m} supervised tokens: {s} weights a token."
    ): "秩 {r} 用 {n} 个权重学习 {m} 个参与训练的词元：每个词元 {s} 个权重。",
    (
        "So few rows cannot feed so many weights: they are learnt by heart, and memory and time are spent for nothing."
    ): "这么少的数据喂不饱这么多权重：数据会被死记硬背，内存和时间也白费了。",
    (
        "Lower the rank (with alpha, so that alpha/rank stays), or bring more rows."
    ): "调低秩（alpha 一起调，使 alpha/rank 不变），或增加数据。",
    "{name} is {a}/{b} = {s}; 1 or 2 is usual.": "{name} 是 {a}/{b} = {s}；通常是 1 或 2。",
    (
        "The adapter's output is multiplied by this: what it learns hardly reaches the model."
    ): "适配器的输出要乘以这个值：它学到的东西几乎传不到模型。",
    (
        "The adapter's output is multiplied by this: every step counts many times over."
    ): "适配器的输出要乘以这个值：每一步都被放大了许多倍。",
    "Set alpha so that {name} is {n}.": "调整 alpha，使 {name} 为 {n}。",
    (
        "train.weight_decay is {d}: over {n} updates at a peak rate of {r} it takes {g} of every trained weight."
    ): "train.weight_decay 是 {d}：在峰值学习率 {r} 下经过 {n} 次更新，会使每个训练的权重缩小 {g}。",
    "The decay pulls the weights back to zero as fast as the data moves them.": (
        "衰减把权重拉回零的速度，与数据推动它们的速度一样快。"
    ),
    (
        "The decay pulls the weights back to zero as fast as the data moves them, the base's own with them."
    ): "衰减把权重拉回零的速度，与数据推动它们的速度一样快，基座自身的权重也不例外。",
    "Lower it; an adapter needs none or little.": "调低它；适配器不需要或只需要很少的权重衰减。",
    "The adapter is only on {names}.": "适配器只加在了 {names} 上。",
    (
        "One kind of layer cannot make up for the others: with the same number of weights, adapters on every linear "
        "layer learn more (QLoRA, arXiv 2305.14314, figure 2; LoRA Without Regret, 2025)."
    ): (
        "一种层替代不了其他层：权重数相同时，加在所有线性层上的适配器学得更多"
        "（QLoRA，arXiv 2305.14314，图 2；LoRA Without Regret，2025）。"
    ),
    "Put the adapter on every linear layer; with a lower rank it need not cost more.": (
        "把适配器加在所有线性层上；把秩调低，代价就不会更大。"
    ),
    "adapter.targets names {names}.": "adapter.targets 中包含 {names}。",
    (
        "Embeddings and the output head hold a row a word: a small set moves the rows of its own words and leaves the "
        "others behind. They are no targets here."
    ): "嵌入层和输出头里每个词占一行：小数据集只会移动自己用到的那些词，其余的留在原处。它们不适合作为目标。",
    "Leave them out.": "去掉它们。",
    "Full fine-tuning of {n} weights, embeddings included, on {m} rows.": (
        "用 {m} 条数据全量微调 {n} 个权重，包括嵌入层。"
    ),
    (
        "So few rows use few of the words: their embeddings move, the others stay behind, and the base forgets."
    ): "这么少的数据只用到少数词：它们的嵌入移动了，其余的留在原处，基座会因此遗忘。",
    "Train an adapter.": "改为训练适配器。",
    "{n} rows are seen {e} times each, without dropout.": "{n} 条数据每条看 {e} 遍，而且没有随机丢弃。",
    "Rows that come again and again the same are learnt by heart.": "一遍遍原样出现的数据会被死记硬背。",
    "Drop a share of the adapter's inputs (QLoRA takes 0.1 for models up to 13B).": (
        "随机丢弃一部分适配器输入（QLoRA 对 13B 以下的模型取 0.1）。"
    ),
    "{n} of {m} samples are cut within the answer, at {t} tokens.": (
        "{m} 个样本中有 {n} 个在回答中间被截断（{t} 个词元处）。"
    ),
    "These samples do not show how an answer ends: the model learns to go on.": (
        "这些样本没有展示回答如何结束：模型会学成说个不停。"
    ),
    "The model itself takes no more than {n} tokens: leave these samples out.": (
        "模型本身最多接受 {n} 个词元：请去掉这些样本。"
    ),
    "Let the samples be longer; `lorafit data` shows their lengths.": (
        "允许更长的样本；`lorafit data` 会显示样本的长度。"
    ),
}

CURVES = {
    (
        "The training loss was {a} over updates {n} to {m} and {b} over the last {s}, to update {u}."
    ): "训练损失在第 {n} 至 {m} 次更新为 {a}，在最后 {s} 次（到第 {u} 次）为 {b}。",
    "The held-out loss went from {a} to {b}.": "留出集损失从 {a} 变为 {b}。",
    "Nothing is learnt: the steps are too small to matter, or the base knows this data already.": (
        "什么也没学到：步长太小不起作用，或者基座早已掌握这些数据。"
    ),
    (
        "Raise the learning rate. If the loss stays flat then, look at what is trained on: `lorafit data`."
    ): "调高学习率。如果之后损失仍没有变化，请查看训练的内容：`lorafit data`。",
    "The held-out loss turned round {n} times by more than {s}: {list}.": (
        "留出集损失来回变化了 {n} 次，每次超过 {s}：{list}。"
    ),
    (
        "The training loss, averaged over {n} updates each, turned round {m} times by more than {s}: {list}."
    ): "训练损失（每 {n} 次更新取平均）来回变化了 {m} 次，每次超过 {s}：{list}。",
    "The steps are too long: each update overshoots what the one before had reached.": (
        "步长太大：每次更新都越过了上一次到达的位置。"
    ),
    "Take a lower learning rate, a third at most.": "降低学习率，最多取原来的三分之一。",
    "The loss was not a finite number at update {list}.": "第 {list} 次更新的损失不是有限的数。",
    "The steps are so long that training leaves the valley it was in and does not find back.": (
        "步长太大，训练离开了原来的低谷，再也回不去。"
    ),
    (
        "Take a lower learning rate, a tenth at most, and start again: what was learnt after the rise is of no use."
    ): "降低学习率，最多取原来的十分之一，重新开始：损失上升之后学到的东西没有用处。",
    (
        "The training loss began at {a} (update {n}) and is {b} over the last {s} updates, to update {u}."
    ): "训练损失开始时是 {a}（第 {n} 次更新），最后 {s} 次更新（到第 {u} 次）是 {b}。",
    (
        "The training loss fell to {a} (from update {n}, over {s} updates) and has risen to {b} over the last {t}, to "
        "update {u}."
    ): "训练损失曾降到 {a}（从第 {n} 次更新起的 {s} 次），最后 {t} 次（到第 {u} 次）又升到 {b}。",
    (
        "At {n} updates the gradient was more than {m} times as long as in the updates before; the longest at update "
        "{u}: {a}, where {b} was usual."
    ): "有 {n} 次更新的梯度超过之前的 {m} 倍；最大的在第 {u} 次更新：{a}，而平常是 {b}。",
    "Single batches throw the weights far off, and nothing bounds them: clipping is off.": (
        "个别的批把权重甩得很远，而且没有任何限制：梯度裁剪是关闭的。"
    ),
    "Clip the gradient.": "裁剪梯度。",
    (
        "The weights have come to where the loss is steep, mostly through too high a learning rate; clipping bounds "
        "the step, not its direction."
    ): "权重走到了损失很陡的地方，多半是因为学习率太高；裁剪只限制步长，不改变方向。",
    (
        "Take a lower learning rate, a third at most. If the same rows come with each peak, look at them with `lorafit data`."
    ): "降低学习率，最多取原来的三分之一。如果每次尖峰都由同样的数据引起，请用 `lorafit data` 查看它们。",
}

FITTING = {
    "The weights that are kept are those after update {n}.": "保留的是第 {n} 次更新之后的权重。",
    "The base was better.": "基座反而更好。",
    (
        "The held-out loss was lowest after update {n} ({a}) and rose to {b} by update {m}, while the training loss "
        "fell from {c} to {d}."
    ): "留出集损失在第 {n} 次更新后最低（{a}），到第 {m} 次升到 {b}，而训练损失从 {c} 降到 {d}。",
    "The model learns the {n} training rows by heart instead of what they have in common.": (
        "模型在死记 {n} 条训练数据，而没有学到它们的共同之处。"
    ),
    "The model learns the training rows by heart instead of what they have in common.": (
        "模型在死记训练数据，而没有学到它们的共同之处。"
    ),
    "Train for fewer epochs; more rows would help more.": "减少训练轮数；增加数据更有帮助。",
    (
        "The loss fell by {a} in the first half of the learning that the schedule gave, and still by {b} in the second "
        "({c} to {d} in all): it was on its way down when the run ended."
    ): (
        "在学习率计划所给的学习量中，前一半损失下降 {a}，后一半仍下降 {b}（总共从 {c} 到 {d}）：训练结束时它还在下降。"
    ),
    "The run was over before the model had learnt what is in the data.": "模型还没有学完数据中的内容，训练就结束了。",
    (
        "Train for twice as many epochs (`lorafit resume` goes on from here), or take a higher learning rate."
    ): "把训练轮数加倍（`lorafit resume` 可以从这里继续），或提高学习率。",
    "train.learning_rate is {r}; usual for {words} is {a} to {b}.": (
        "train.learning_rate 是 {r}；{words}通常用 {a} 至 {b}。"
    ),
    "{method} on a base of {size} parameters": "{size} 参数基座上的 {method}",
    "full fine-tuning on a base of {size} parameters": "{size} 参数基座的全量微调",
    "Steps as long as this mostly undo each other, or destroy what the base knows.": (
        "这么大的步长多半互相抵消，或者破坏基座已有的能力。"
    ),
    "Take a rate within what is usual.": "采用通常范围内的学习率。",
    (
        "At its peak the learning rate was too high: the first updates threw away what the base knew, and the rest of "
        "the run was spent on finding it again."
    ): "学习率的峰值太高：最初的更新丢掉了基座已有的能力，其余的训练都用在了找回它们上。",
    (
        "The training loss began at {a} and rose to {b} over updates {n} to {m}; at the end it is {c}."
    ): "训练损失开始时是 {a}，在第 {n} 至 {m} 次更新升到 {b}；结束时是 {c}。",
    "The loss went from {a} to {b} in {n} updates.": "{n} 次更新中，损失从 {a} 变为 {b}。",
    "The steps are too short to get anywhere within this run.": "步长太小，这次训练走不到任何地方。",
    (
        "With {n} examples an update the training loss varies by {s} from one update to the next, and the held-out "
        "loss turned round {m} times by more than {t}: {list}."
    ): "每次更新 {n} 个样本时，相邻两次更新的训练损失相差 {s}，留出集损失来回变化了 {m} 次，每次超过 {t}：{list}。",
    "Each update follows its few examples, and the next one undoes it.": (
        "每次更新只听从少数几个样本，下一次又把它抵消。"
    ),
    (
        "Take four times as many examples an update; memory stays as it is, for they go through in passes."
    ): "每次更新用四倍的样本；内存不变，因为它们分几趟计算。",
}

MACHINE = {
    "GPU {n} had {a} of {b} GiB in use in each of the last {m} samples.": (
        "在最近 {m} 次采样中，GPU {n} 一直占用 {b} GiB 中的 {a} GiB。"
    ),
    "One longer batch, or another program on the card, ends the run for lack of memory.": (
        "只要有一批更长，或显卡上有别的程序，训练就会因显存不足而中止。"
    ),
    "Halve the tokens of a pass: the result stays the same.": "把每趟的词元数减半：结果不变。",
    "Something else takes the machine's time or memory: another process, swapping, or a slow disk.": (
        "有别的东西占用机器的时间或内存：另一个进程、内存交换，或缓慢的磁盘。"
    ),
    "The GPU is at {n} °C, where it slows itself down.": "GPU 达到 {n} °C，会自动降速。",
    "{a} tokens a second from update {n} on, {b} in the last {s} updates to update {u}.": (
        "从第 {n} 次更新起每秒 {a} 个词元，最后 {s} 次更新（到第 {u} 次）每秒 {b} 个。"
    ),
    (
        "Look at what else runs (`nvidia-smi`, the system's monitor) and at the cooling. The result is not touched."
    ): "请查看还有什么在运行（`nvidia-smi`、系统监视器），并检查散热。训练结果不受影响。",
    (
        "Memory after an update grew from {a} to {b} GiB between updates {n} and {m}, in every stretch of the way."
    ): "从第 {n} 次到第 {m} 次更新，更新之后的内存占用从 {a} 一路增长到 {b} GiB。",
    "Something is kept that should be let go. This is not a matter of the settings.": (
        "有本应释放的东西被留住了。这与设置无关。"
    ),
    (
        "Save often, so that `lorafit resume` starts with fresh memory, and report it (`lorafit doctor --json FILE`)."
    ): "请经常保存，使 `lorafit resume` 能从干净的内存开始，并报告这个问题（`lorafit doctor --json FILE`）。",
    "{s} of the time of the last {n} updates was spent waiting for the batch.": (
        "最近 {n} 次更新有 {s} 的时间花在等待批数据上。"
    ),
    "The GPU was busy {s} of the time.": "GPU 只有 {s} 的时间在工作。",
    (
        "Putting a batch together takes long beside computing it: a busy processor, or very many short rows."
    ): "组成一批的时间比计算它还突出：处理器繁忙，或短数据太多。",
    "Leave the processor to the run.": "把处理器留给训练。",
    "Looking for common beginnings can be left out.": "可以不再查找相同的开头。",
}

ENDING = {
    "At update {n} of {m} the run stopped by itself: {words}": "训练在第 {n} 次更新（共 {m} 次）自行停止：{words}",
    "At update {n} the run stopped by itself: {words}": "训练在第 {n} 次更新自行停止：{words}",
    "The message says what was wrong.": "错误信息说明了原因。",
    "Mend what it names; `lorafit resume` goes on from the newest checkpoint.": (
        "按它所说的改正；`lorafit resume` 会从最新的检查点继续。"
    ),
    (
        "The run is said to be {state}, at update {n} of {m}, but its last sign of life is {s} seconds old."
    ): "记录显示训练状态为 {state}，在第 {n} 次更新（共 {m} 次），但最后一次活动是 {s} 秒前。",
    (
        "The run is said to be {state}, at update {n}, but its last sign of life is {s} seconds old."
    ): "记录显示训练状态为 {state}，在第 {n} 次更新，但最后一次活动是 {s} 秒前。",
    "The process was killed, or the machine went down: it left no word.": (
        "进程被终止，或者机器宕机了：没有留下任何信息。"
    ),
    "`lorafit resume` goes on from the newest checkpoint.": "`lorafit resume` 会从最新的检查点继续。",
    (
        "At update {n} of {m} the run fell silent; its last sample has {a} GiB in use by it and {b} GiB left in the "
        "system."
    ): "训练在第 {n} 次更新（共 {m} 次）失去响应；最后一次采样时它占用 {a} GiB，系统剩余 {b} GiB。",
    (
        "At update {n} the run fell silent; its last sample has {a} GiB in use by it and {b} GiB left in the system."
    ): "训练在第 {n} 次更新失去响应；最后一次采样时它占用 {a} GiB，系统剩余 {b} GiB。",
    "The system had no memory left and killed the process.": "系统内存耗尽，终止了进程。",
    "`lorafit resume` goes on.": "`lorafit resume` 可以继续。",
}

SENTENCES: dict[str, str] = TITLES | ANSWERS | BEFORE | CURVES | FITTING | MACHINE | ENDING
