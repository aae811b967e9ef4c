"""Chinese of the plan: verdicts, parts of the memory, changes, assumptions, devices (plan/*.py, settling.py)."""

WORDS = {
    "yes": "可以",
    "tight": "很紧",
    "no": "不行",
    "batch": "批数据",
    "others": "其他",
    "the forward": "前向计算",
    "the backward": "反向计算",
    "the optimizer's update": "优化器更新",
    "a matrix product": "矩阵乘法",
    "a product with 4-bit weights": "与 4 位权重相乘",
    "unpacking 4-bit weights": "解开 4 位权重",
    "a product with 8-bit weights": "与 8 位权重相乘",
    "rounding to 8 bits": "取整到 8 位",
    "the softmax of the loss": "损失的 softmax",
    "the gradient of the loss's softmax": "损失 softmax 的梯度",
    "the loss": "损失",
    "the gradient of the loss": "损失的梯度",
    "a softmax": "softmax",
    "an exponential": "指数运算",
    "a gate's activation": "门控激活",
    "the gradient of a gate's activation": "门控激活的梯度",
    "a sum": "求和",
    "a difference": "求差",
    "an elementwise product": "逐元素相乘",
    "a quotient": "相除",
    "a concatenation": "拼接",
    "a copy": "复制",
    "a conversion": "类型转换",
    "a fresh tensor of zeros": "新建全零张量",
    "the embedding": "嵌入层",
    "the gradient of the embedding": "嵌入层的梯度",
    "the gradients' norm": "梯度范数",
    "attention": "注意力",
    "the gradient of attention": "注意力的梯度",
}

CHANGES = {
    "every layer computed again": "重算每一层",
    "twice the tokens in a pass ({n})": "每趟的词元数加倍（{n}）",
    "half of the tokens in a pass ({n})": "每趟的词元数减半（{n}）",
    "texts of {n} tokens at most": "文本最长 {n} 个词元",
    "needs {a} GiB of {b}": "需要 {a} GiB，共 {b} GiB",
    "needs {a} GiB of {b}: too close to be sure": "需要 {a} GiB，共 {b} GiB：太接近，说不准",
}

NOTES = {
    "{n} examples of {t} tokens an update, all of them trained on": "每次更新 {n} 个样本、每个 {t} 个词元，全部参与训练",
    (
        "{n} GiB of memory ({words}); its speed is not known. Name a card, such as {cards}, to have the time predicted."
    ): "显存 {n} GiB（{words}）；速度未知。写明显卡型号，例如 {cards}，就能预测时间。",
    "{n} GiB of memory ({words}); its speed is not known.": "显存 {n} GiB（{words}）；速度未知。",
    "as given": "按所填",
    "{n} of it, as cards of that size show": "按同容量显卡的实际可用量取 {n} 倍",
    "float32 is assumed.": "按 float32 计算。",
    "{text} may also be {cards}; the smallest, {name}, is taken.": "{text} 也可能是 {cards}；取其中最小的 {name}。",
    (
        "Apple states no rate: GPU cores x 128 x 2 x clock, which float16 does not exceed; computed in float32."
    ): "Apple 没有公布算力：按 GPU 核数 × 128 × 2 × 频率估计，float16 不会超过它；以 float32 计算。",
    "this machine; its speed is not known": "本机；速度未知",
    "this machine; speeds nominal, of the {name}": "本机；速度按 {name} 的标称值",
    "the size given": "所填的大小",
    (
        "the language part alone; the real model has an image encoder of {n} B parameters more"
    ): "只有语言部分；实际的模型还有一个 {n} B 参数的图像编码器",
    "an update of {n} tokens: {words} ({a} to {b} tokens/s)": "一次更新 {n} 个词元：{words}（每秒 {a} 至 {b} 个）",
    "all {n} updates {words}": "全部 {n} 次更新需 {words}",
    "{name} cannot pack rows ({text})": "{name} 不能把多条数据拼在一起（{text}）",
    "{name} lets packed documents see one another": "{name} 会让拼在一起的文档互相看到",
    "{name}: a small model of this kind cannot be built ({text})": "{name}：无法构建这种模型的小样（{text}）",
    "{words}: one example a row": "{words}：每行只放一个样本",
    "{words}: one example a row, which is slower but exact.": "{words}：每行只放一个样本，较慢但结果精确。",
    (
        "planned in {dtype} with {n} tokens a pass, recompute {way}, optimizer {name}"
    ): "按 {dtype} 规划，每趟 {n} 个词元，重算方式 {way}，优化器 {name}",
    "the peak is in {words1}, at {words2}; {size} of tensors": "峰值出现在{words1}的{words2}处；张量占 {size}",
    "the allocator has to give memory back and ask again {times}: slower than planned": (
        "分配器需要归还内存并重新申请 {times}：会比规划的慢"
    ),
    (
        "{size} of optimizer state is paged: it can go to the host's memory, which slows updates"
    ): "{size} 的优化器状态是分页的：可以移到主机内存，但更新会变慢",
    "{size} of activations are kept in the host's memory": "{size} 的激活值存放在主机内存",
    (
        "no time is predicted: the speed of this device is not known (name a card instead of a size)"
    ): "无法预测时间：这个设备的速度未知（请填显卡型号而不是容量）",
    "{n} parameters are trained, of a base of {m}": "训练 {n} 个参数，基座共 {m} 个",
    "{n} to {m} s": "{n} 至 {m} 秒",
    "{n} to {m} min": "{n} 至 {m} 分钟",
    "{n} to {m} h": "{n} 至 {m} 小时",
    "{n} to {m} days": "{n} 至 {m} 天",
}

FAULTS = {
    "--gpu {text} is not a size of memory. Write it like 24GB or 23.5GiB.": (
        "--gpu {text} 不是内存大小。请写成 24GB 或 23.5GiB 的样子。"
    ),
    "--gpu {text}: no such device is known.": "--gpu {text}：没有这样的设备。",
    (
        "Name a card (rtx4090, a100-40gb, m3 max 64gb), a size of memory (24GB), or `this`; add a card with --cards."
    ): "请填显卡（rtx4090、a100-40gb、m3 max 64gb）、显存大小（24GB）或 `this`；可用 --cards 添加显卡。",
    "{text}: a device needs more than 0 GB of memory. Write it like 24GB.": (
        "{text}：设备的内存要大于 0 GB。请写成 24GB 的样子。"
    ),
    "{text} is more memory than any device has ({n} TB at most here). Is the unit right?": (
        "{text} 超过了任何设备的内存（这里至多 {n} TB）。单位对吗？"
    ),
    "--gpu {kind}: this machine has none that torch can use. Name a card or `this`.": (
        "--gpu {kind}：本机没有 torch 能用的这种设备。请填显卡型号或 `this`。"
    ),
    "This system does not tell its memory: name a size, such as `--gpu 'cpu 16GB'`.": (
        "系统没有告知内存大小：请指定，例如 `--gpu 'cpu 16GB'`。"
    ),
    "data.max_length is {n} tokens, but {name} was made for {m}. Ask for at most {k}.": (
        "data.max_length 是 {n} 个词元，但 {name} 只支持 {m} 个。请设为至多 {k}。"
    ),
    "{file} has no model_type, so it does not say what kind of model it is (found: {found}).": (
        "{file} 没有 model_type，无法得知是哪种模型（只有：{found}）。"
    ),
    (
        "{file} is of weights that are quantised already, which lorafit does not train. Plan for the 16-bit original "
        "with model.quantization=nf4: lorafit quantises it while loading."
    ): (
        "{file} 的权重已经量化过，lorafit 不训练这样的模型。请用 16 位的原始模型加 model.quantization=nf4 来规划："
        "lorafit 会在加载时量化。"
    ),
    "{file} cannot be read: {words}": "{file} 无法读取：{words}",
    "{file} should hold a JSON object, found {found}.": "{file} 应当是一个 JSON 对象，实际是 {found}。",
    "The model of this config cannot be built: {text}": "无法按这个配置构建模型：{text}",
    "The size of this model cannot be estimated: its config.json gives no number for {names}.": (
        "无法估计模型的大小：它的 config.json 没有给出 {names}。"
    ),
    "Known without network, and near: {names}.": "不联网也知道的相近模型：{names}。",
    (
        "A folder with a config.json will do too, or the path of the file: weights are not needed to plan."
    ): "也可以填含有 config.json 的文件夹，或该文件的路径：规划不需要权重。",
    (
        "This run needs {a}, and {b} are free on {words} (planned with {n} tokens a pass, recompute {way})."
    ): "这次训练需要 {a}，而{words}上只有 {b} 可用（按每趟 {n} 个词元、重算方式 {way} 规划）。",
    "What would make it fit:": "怎样才放得下：",
    "{words1}: {settings} ({size} less; {words2})": "{words1}：{settings}（省 {size}；{words2}）",
    "No single setting is enough: `lorafit plan ... --fit` tries them together.": (
        "单独改一项都不够：`lorafit plan ... --fit` 会组合尝试。"
    ),
    "{name} cannot be simulated ({text}): the run is not planned.": "{name} 无法模拟（{text}）：这次训练没有规划。",
}

SENTENCES: dict[str, str] = WORDS | CHANGES | NOTES | FAULTS
