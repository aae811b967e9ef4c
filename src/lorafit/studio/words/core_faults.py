"""Chinese of errors of recipes, runs, models, training and exports."""

RECIPE = {
    "One fault in {words}:": "{words}有 1 处错误：",
    "{n} faults in {words}:": "{words}有 {n} 处错误：",
    "the command line": "命令行",
    "the recipe": "配方",
    "these settings": "这些设置",
    "{key}: missing. {words}": "{key}：缺少。{words}",
    "{key}: found {value}; {words}": "{key}：现在是 {value}；{words}",
    "{key}: found {value}; {words1}, or {words2}": "{key}：现在是 {value}；{words1}，或{words2}",
    # without its name, as the review has them
    "missing. {words}": "缺少。{words}",
    "found {value}; {words}": "现在是 {value}；{words}",
    "found {value}; {words1}, or {words2}": "现在是 {value}；{words1}，或{words2}",
    "unknown key (value {value}). {words}": "没有这个设置（值为 {value}）。{words}",
    "{key}: unknown key (value {value}). {words}": "{key}：没有这个设置（值为 {value}）。{words}",
    "lorafit calls it {name}.": "lorafit 中叫 {name}。",
    "Valid keys: {names}.": "可用的设置：{names}。",
    "input should be a mapping of its keys": "应当是由其各项组成的对象",
    "input should be greater than or equal to {n}": "应当大于或等于 {n}",
    "input should be greater than {n}": "应当大于 {n}",
    "input should be less than or equal to {n}": "应当小于或等于 {n}",
    "input should be less than {n}": "应当小于 {n}",
    "input should be a valid integer, unable to parse string as an integer": "应当是整数",
    "input should be a valid integer, got a number with a fractional part": "应当是整数，不能有小数部分",
    "input should be a valid integer": "应当是整数",
    "input should be a valid number, unable to parse string as a number": "应当是数",
    "input should be a valid number": "应当是数",
    "input should be a finite number": "应当是有限的数",
    "input should be a valid boolean, unable to interpret input": "应当是 true 或 false",
    "input should be a valid boolean": "应当是 true 或 false",
    "input should be a valid string": "应当是文字",
    "input should be a valid list": "应当是列表",
    "input should be a valid tuple": "应当是列表",
    "input should be a valid dictionary": "应当是键值对",
    "input should be {names}": "应当是 {names}",
    "input should be auto, {words}": "应当是 auto、{words}",
    "none, attention, every-2 (or every-3, and so on), layers or offload": (
        "none、attention、every-2（或 every-3 等）、layers 或 offload"
    ),
    "string should have at least {n} character": "至少要有 {n} 个字符",
    "string should have at most {n} characters": "最多 {n} 个字符",
    "there is no metric {name}.": "没有指标 {name}。",
    "There is no metric {name}.": "没有指标 {name}。",
    "The metrics are {names}.": "可用的指标：{names}。",
    "a run's name becomes a folder: no slashes, not only dots, at most 200 bytes": (
        "训练的名称会成为文件夹名：不能有斜杠，不能只有点，至多 200 字节"
    ),
    (
        "full fine-tuning (adapter.method=none) cannot train a base in {form}, whose weights are frozen in that form; "
        "use model.quantization=none, or adapter.method=lora"
    ): (
        "全量微调（adapter.method=none）不能训练 {form} 的基座，这种形式的权重是冻结的；"
        "请用 model.quantization=none 或 adapter.method=lora"
    ),
    (
        "limit draws from all rows, and a stream (streaming) does not read them beforehand; give the sources of "
        "data.train a limit instead"
    ): "limit 要从全部数据中抽取，而流式读取（streaming）不会预先读完；请改为给 data.train 的各来源设置 limit",
    "{text}: an override is written key=value, for instance train.epochs=2": (
        "{text}：设置要写成 key=value，例如 train.epochs=2"
    ),
    "No recipe {path}: {words}": "没有配方 {path}：{words}",
    "recipes in {folder}: {names}.": "{folder} 中的配方：{names}。",
    "{folder} holds no recipe.": "{folder} 里没有配方。",
    "The recipe {path} cannot be read: {words}": "配方 {path} 无法读取：{words}",
    "The recipe {path} is not YAML: {text}": "配方 {path} 不是 YAML：{text}",
    "The recipe {path} should hold `key: value` pairs, found {found}.": (
        "配方 {path} 应当是 `key: value` 的形式，实际是 {found}。"
    ),
}

RUNS = {
    "{path} is missing: {folder} is not a whole run folder.": "缺少 {path}：{folder} 不是完整的训练文件夹。",
    "Could not write {path}: {words1} ({words2}).": "无法写入 {path}：{words1}（{words2}）。",
    "{n} MiB free there": "那里剩余 {n} MiB",
    "the folder cannot be looked at": "无法查看该文件夹",
    "What was saved before is untouched.": "之前保存的内容没有受影响。",
    "Free some space or choose another folder with `output=FOLDER`.": (
        "请腾出空间，或用 `output=FOLDER` 选择另一个文件夹。"
    ),
    "The run folder {path} exists already, and a run never overwrites another.": (
        "训练文件夹 {path} 已经存在，而训练不会覆盖另一个训练。"
    ),
    "Choose another name with `name=NEW` (or --name NEW), or remove {path} yourself.": (
        "请用 `name=NEW`（或 --name NEW）另取名称，或自行删除 {path}。"
    ),
    "No run folder {path}: {words}": "没有训练文件夹 {path}：{words}",
    "{path} has no recipe.yaml, so it is not a run folder.": "{path} 没有 recipe.yaml，因此不是训练文件夹。",
    "runs in {folder}: {names}.": "{folder} 中的训练：{names}。",
    "there are no runs in {folder}.": "{folder} 中没有训练。",
    "Another process works in {path}. Wait for it or stop it (its number is in status.json).": (
        "另一个进程正在使用 {path}。请等待或停止它（进程号在 status.json 中）。"
    ),
    "{path} holds no trained weights at {place} (its state is {state}).": (
        "{path} 在 {place} 没有训练好的权重（状态是 {state}）。"
    ),
    "stopped by the user": "由用户停止",
    "interrupted after update {n}; the best so far is saved": "在第 {n} 次更新后中断；已保存目前最好的结果",
    "{n} of {m} updates in {s} s": "{m} 次更新中完成 {n} 次，用时 {s} 秒",
    "{n} of {m} updates in {s} s, held-out loss {a}": "{m} 次更新中完成 {n} 次，用时 {s} 秒，留出集损失 {a}",
    "held-out loss has not improved in {n} measurements: stopping": "留出集损失连续 {n} 次测量没有改善：停止",
    "loading {name}": "正在加载 {name}",
    "reading the data": "正在读取数据",
    "adding the adapter": "正在加入适配器",
    "measuring held-out loss after update {n}": "正在测量第 {n} 次更新后的留出集损失",
    "measuring the base's held-out loss": "正在测量基座的留出集损失",
    "the base answers held-out prompts": "基座正在回答留出的提示",
    "the tuned model answers held-out prompts": "微调后的模型正在回答留出的提示",
    "the held-out loss never fell below that of the base: what is saved is the last state.": (
        "留出集损失从未低于基座：保存的是最后的状态。"
    ),
    "checkpoint {name} is skipped: {text}": "跳过检查点 {name}：{text}",
    "No checkpoint in {folder} is whole.": "{folder} 中没有完整的检查点。",
    "--anyway begins anew, from update 0.": "--anyway 会从第 0 次更新重新开始。",
    "{path} is finished and kept no checkpoint, so it cannot be made longer.": (
        "{path} 已经完成，而且没有保留检查点，因此不能再延长。"
    ),
    "{path} is finished, after {n} updates.": "{path} 在 {n} 次更新后已经完成。",
    "For more: train.epochs=N, max_updates or patience.": "想继续：请设置 train.epochs=N、max_updates 或 patience。",
    "{path} cannot go on as the same run:": "{path} 不能作为同一次训练继续：",
    "Put back what was, or go on with --anyway; then it no longer equals a run that was never stopped.": (
        "请恢复原样，或用 --anyway 继续；那样就不再等同于从未中断的训练。"
    ),
    "{n} updates are done already, and the settings ask for {m}.": "已经完成 {n} 次更新，而设置只要求 {m} 次。",
    "What may change: {names}.": "可以更改的有：{names}。",
    (
        "the run was killed without a word, {text}: it goes on with {n} tokens a pass instead of {m}. The result is "
        "the same but for rounding."
    ): "训练被突然终止（{text}）：改用每趟 {n} 个词元（原来 {m}）继续。除舍入外结果相同。",
    "{path} goes on from update {n}": "{path} 从第 {n} 次更新继续",
    "A run goes on with the settings that it has; {names} would make another run of it.": (
        "训练要以原有的设置继续；改变 {names} 就成了另一次训练。"
    ),
    "{n} updates instead of {m}: from here on the learning rate follows the schedule of the new length": (
        "{n} 次更新，原来是 {m} 次：从这里起学习率按新的长度变化"
    ),
    "{key}: {old} in the checkpoint, {new} in recipe.yaml": "{key}：检查点中是 {old}，recipe.yaml 中是 {new}",
    "the base's {file} is another one": "基座的 {file} 已经不同",
    "{file} has changed": "{file} 已经改变",
    "{package}: {old} then, {new} now": "{package}：当时 {old}，现在 {new}",
}

MODELS = {
    "model.name: {name} has no config.json (looked in {folder}).": "model.name：{name} 没有 config.json（找过 {folder}）。",
    "model.name: {name} is a file. Name the folder that holds config.json and the safetensors.": (
        "model.name：{name} 是文件。请指定含有 config.json 和 safetensors 的文件夹。"
    ),
    "model.name: no folder {name}.": "model.name：没有文件夹 {name}。",
    "model.name: {folder} has no config.json, so it is not a model folder (found: {found}).": (
        "model.name：{folder} 没有 config.json，因此不是模型文件夹（只有：{found}）。"
    ),
    (
        "model.name: {folder} holds its weights only as pickle ({names}), which can run code when it is opened; "
        "lorafit reads safetensors only."
    ): "model.name：{folder} 的权重只有 pickle 格式（{names}），打开时可能执行代码；lorafit 只读 safetensors。",
    "model.name: {folder} holds no *.safetensors (found: {found}).": (
        "model.name：{folder} 里没有 *.safetensors（只有：{found}）。"
    ),
    "The tokenizer in {folder} cannot be loaded: {text}": "{folder} 中的分词器无法加载：{text}",
    "model.name: {name} is gated. Accept its terms on its page, then log in with `hf auth login`.": (
        "model.name：{name} 需要授权。请在其页面上接受条款，再用 `hf auth login` 登录。"
    ),
    "model.revision: {name} has no revision {revision}.": "model.revision：{name} 没有版本 {revision}。",
    (
        "model.name: there is no folder {name} here, and no such model on the Hugging Face hub (or it is private: log "
        "in with `hf auth login`)."
    ): (
        "model.name：这里没有文件夹 {name}，Hugging Face 上也没有这个模型（如果是私有的，请用 `hf auth login` 登录）。"
    ),
    "model.name: there is no folder {name} here, and it cannot be a model of the Hugging Face hub: {text}": (
        "model.name：这里没有文件夹 {name}，它也不可能是 Hugging Face 上的模型：{text}"
    ),
    "model.name: there is no folder {name} here, and the Hugging Face hub cannot be reached ({text}).": (
        "model.name：这里没有文件夹 {name}，而且连不上 Hugging Face（{text}）。"
    ),
    "model.name: ModelScope models need its package: {command}.": "model.name：ModelScope 的模型需要其软件包：{command}。",
    "model.name: ModelScope does not give {name}: {text}": "model.name：ModelScope 没有给出 {name}：{text}",
    "There is no folder {folder} either.": "文件夹 {folder} 也不存在。",
    "Model folders in {folder}: {names}.": "{folder} 中的模型文件夹：{names}。",
    (
        "{folder} holds weights that are quantised already. Use the 16-bit original with model.quantization=nf4: "
        "lorafit quantises it while loading."
    ): "{folder} 的权重已经量化过。请用 16 位的原始模型加 model.quantization=nf4：lorafit 会在加载时量化。",
    "The model in {folder} cannot be loaded: {text}": "{folder} 中的模型无法加载：{text}",
    "The model in {folder} cannot be built: {text}": "{folder} 中的模型无法构建：{text}",
    "The model in {folder} lacks {n} weights that its config.json asks for ({names}).": (
        "{folder} 中的模型缺少 config.json 要求的 {n} 个权重（{names}）。"
    ),
    "Part of the download or of the folder is missing.": "下载或文件夹不完整。",
    "model.quantization needs bitsandbytes, which is not installed: {command}.": (
        "model.quantization 需要 bitsandbytes，而它没有安装：{command}。"
    ),
    "Or train on the base as it is with model.quantization=none.": "或用 model.quantization=none 按原样训练基座。",
    "model.device: {name} was asked for, but this machine offers {names}.": (
        "model.device：要求 {name}，但本机只有 {names}。"
    ),
    "Use `model.device=auto`, or install a torch build for that device.": (
        "请用 `model.device=auto`，或安装支持该设备的 torch。"
    ),
    "adapter.targets: {value} matches none of the linear layers of this model.": (
        "adapter.targets：{value} 与这个模型的任何线性层都不匹配。"
    ),
    "There are: {names}. Use some of these names, or all-linear.": "可用的有：{names}。请用其中的名称，或 all-linear。",
    "adapter.rank={n} is larger than the smallest side of a target ({m}): nothing above rank {k} can be learned there.": (
        "adapter.rank={n} 超过了目标层最小的边（{m}）：超过秩 {k} 的部分学不到东西。"
    ),
    "No parameter is trained: the adapter is empty.": "没有可训练的参数：适配器是空的。",
    "Use a revision of the model with safetensors, or convert the weights yourself where you trust them "
    "(transformers: load, then save_pretrained).": (
        "请使用带 safetensors 的版本；若信任这些权重，也可自行转换（transformers：加载后 save_pretrained）。"
    ),
    "{name} cannot be built: {text}": "{name} 无法构建：{text}",
    "{name} has no linear layers that an adapter could be put on.": "{name} 没有可加适配器的线性层。",
}

TRAINING = {
    (
        "{source}: with {n} tokens this single sample is too long for the memory ({text})."
    ): "{source}：这一个样本有 {n} 个词元，内存放不下（{text}）。",
    (
        "What would make it fit: train.recompute=layers if it is not, data.max_length={n} or less, "
        "model.quantization=nf4; `lorafit plan` says what each gives."
    ): (
        "怎样才放得下：train.recompute=layers（若还不是）、data.max_length={n} 或更小、model.quantization=nf4；"
        "`lorafit plan` 会说明各能省多少。"
    ),
    "The plan was wrong, or something else took memory meanwhile.": "规划有误，或期间有别的程序占用了内存。",
    (
        "Less: a smaller train.tokens_per_pass (the result stays the same), train.recompute=layers, "
        "model.quantization=nf4; `lorafit plan recipe.yaml` says what each gives."
    ): (
        "可以减少占用：调小 train.tokens_per_pass（结果不变）、train.recompute=layers、model.quantization=nf4；"
        "`lorafit plan recipe.yaml` 会说明各能省多少。"
    ),
    "Update {n} gave loss {a} and gradient norm {b}: {words}. Its samples are in {file}.": (
        "第 {n} 次更新的损失是 {a}，梯度范数是 {b}：{words}。样本存放在 {file}。"
    ),
    "the first layer that gives numbers which are not finite is {name} ({text})": (
        "最先给出非有限数值的层是 {name}（{text}）"
    ),
    "every layer's output is finite, the loss is not ({text})": "每一层的输出都是有限的，损失却不是（{text}）",
    (
        "Nothing of it was applied, and {n} such updates may be left out (train.skip_non_finite): training stops."
    ): "这次更新没有生效，而只允许跳过 {n} 次这样的更新（train.skip_non_finite）：训练停止。",
    "A lower train.learning_rate, or model.dtype=float32, usually mends this.": (
        "通常调低 train.learning_rate 或用 model.dtype=float32 就能解决。"
    ),
    "The first update has a gradient of exactly 0: nothing would be learned.": "第一次更新的梯度恰好是 0：什么也学不到。",
    (
        "The first update has a loss of exactly 0: nothing of these rows is trained, or the model knows them by heart."
    ): "第一次更新的损失恰好是 0：这些数据没有任何内容参与训练，或模型已经背下了它们。",
    "`lorafit data` shows what is trained.": "`lorafit data` 会显示训练的内容。",
    "The length of a stream (data.streaming) is not known: set train.max_updates.": (
        "流式数据（data.streaming）的长度未知：请设置 train.max_updates。"
    ),
    (
        "The base's held-out loss is {a}: this model does not compute in this dtype. Try model.dtype=float32 or "
        "bfloat16."
    ): "基座的留出集损失是 {a}：这个模型不能用这种类型计算。请试 model.dtype=float32 或 bfloat16。",
    (
        "Plain transformers gives loss {a} on this data: this model does not compute in this dtype. Try "
        "model.dtype=float32 or bfloat16."
    ): "普通 transformers 在这些数据上的损失是 {a}：这个模型不能用这种类型计算。请试 model.dtype=float32 或 bfloat16。",
    (
        "The fast step does not compute what the plain one does on this model: loss off by {a}, gradients by {b} "
        "(relative), the worst in {name} ({c})."
    ): "在这个模型上，快速计算与普通计算的结果不同：损失相差 {a}，梯度相差 {b}（相对），最大在 {name}（{c}）。",
    "Nothing was trained. Please report this; --no-self-check trains all the same.": (
        "没有进行训练。请报告这个问题；--no-self-check 可以照样训练。"
    ),
    "train.optimizer: {name} keeps its state through bitsandbytes' CUDA kernels; this run is on {device}. Use adamw.": (
        "train.optimizer：{name} 依靠 bitsandbytes 的 CUDA 内核保存状态；这次训练在 {device} 上。请用 adamw。"
    ),
    (
        "train.recompute: offload moves what is kept from the GPU to the host's memory; this run is on {device}. Use "
        "layers."
    ): "train.recompute：offload 把保存的内容从 GPU 移到主机内存；这次训练在 {device} 上。请用 layers。",
    (
        "{token} ends an answer, but the base looks as if it had never seen it: its embedding is that of unused "
        "tokens, and an adapter does not train it, so that answers may never end. Take a template whose end the base "
        "knows (data.template)."
    ): (
        "回答以 {token} 结束，但基座似乎从未见过它：它的嵌入与未使用的词元一样，而适配器不训练嵌入，"
        "因此回答可能停不下来。请换一个基座认识其结束词元的模板（data.template）。"
    ),
    "update {n}: float16 overflowed; the update is left out, the loss scale halved": (
        "第 {n} 次更新：float16 溢出；跳过这次更新，损失缩放减半"
    ),
    "{text}: memory ran out with {n} tokens a pass ({text1}). It was done again, and training goes on, with {m}: "
    "slower, the same result.": "{text}：每趟 {n} 个词元时内存不足（{text1}）。已用 {m} 个重做并继续训练：较慢，结果相同。",
    "Memory ran out while the weights were updated ({text}).": "更新权重时内存不足（{text}）。",
    "adapter.targets: {name} matches no linear layer.": "adapter.targets：{name} 没有匹配到线性层。",
    "adapter.targets: {name} is not a regular expression: {text}.": "adapter.targets：{name} 不是正则表达式：{text}。",
    "{folder} holds no adapter (adapter_config.json is missing).": "{folder} 中没有适配器（缺少 adapter_config.json）。",
    "The adapter in {folder} does not fit {base}: {text}": "{folder} 中的适配器与 {base} 不符：{text}",
}

# As the operating system says them.
SYSTEM = {
    "No such file or directory": "没有这样的文件或文件夹",
    "Permission denied": "没有权限",
    "Is a directory": "是文件夹",
    "Not a directory": "不是文件夹",
    "File exists": "文件已存在",
    "File name too long": "文件名太长",
    "No space left on device": "磁盘空间不足",
    "Read-only file system": "文件系统只读",
    "Connection refused": "连接被拒绝",
    "Address already in use": "地址已被占用",
    "Cannot allocate memory": "无法分配内存",
}

SENTENCES: dict[str, str] = RECIPE | RUNS | MODELS | TRAINING | SYSTEM
