"""Chinese of exports, evaluations and differences (export, assess, evaluate, report/evaluation_view.py)."""

EXPORTS = {
    "The export does not answer like the tuned model: {words}.": "导出的模型与微调后的模型回答不同：{words}。",
    "Likely cause: {words}.": "可能的原因：{words}。",
    "The export was not kept.": "没有保留这次导出。",
    "The file was not kept.": "没有保留这个文件。",
    "the chat template": "对话模板",
    "special tokens, or another tokenizer": "特殊词元，或另一个分词器",
    "weights that are not those that were trained: another base, or a layer that was left out": (
        "权重不是训练时的：基座不同，或漏了某一层"
    ),
    (
        "{n} of {m} greedy tokens on {p} prompts are the same (largest logit difference {a}, perplexity {b})"
    ): "{p} 个提示上贪心生成的 {m} 个词元中有 {n} 个相同（最大 logit 差 {a}，困惑度 {b}）",
    "{name} did not finish with the export within {n} s.": "{name} 在 {n} 秒内没有处理完导出。",
    "{name} cannot run the export: {text}. The export was not kept.": "{name} 无法运行导出的模型：{text}。没有保留这次导出。",
    "--to onnx needs {names}: {command}.": "--to onnx 需要 {names}：{command}。",
    "torch cannot trace this model ({name}) for ONNX: {text}": "torch 无法为 ONNX 追踪这个模型（{name}）：{text}",
    "{path} exists already and is not empty. Name another folder with --output.": (
        "{path} 已经存在而且不为空。请用 --output 指定另一个文件夹。"
    ),
    "{path} trained every weight: there is no adapter. Use --to gguf.": "{path} 训练了所有权重：没有适配器。请用 --to gguf。",
    "GGUF export does not know the architecture {name}. It knows {names}.": (
        "GGUF 导出不支持结构 {name}。支持的有 {names}。"
    ),
    "GGUF export starts from 16- or 32-bit weights, and these are quantised. Merge first.": (
        "GGUF 导出要从 16 位或 32 位的权重开始，而这些已经量化。请先合并。"
    ),
    "GGUF export cannot write this {name} model: {words}.": "GGUF 导出无法写入这个 {name} 模型：{words}。",
    "it attends in both directions": "它的注意力是双向的",
    "it has cross-attention": "它有交叉注意力",
    "only a part of each head is rotated": "每个头只有一部分做旋转编码",
    "its attention is scaled otherwise than GPT-2's": "它的注意力缩放与 GPT-2 不同",
    "its rope scaling is {kind}; {names} can be written": "它的 rope 缩放是 {kind}；可以写入的是 {names}",
    "A GGUF file is checked with llama.cpp before it is handed over: {command} (xllamacpp).": (
        "GGUF 文件交付前要用 llama.cpp 检查：{command}（xllamacpp）。"
    ),
    "GGUF export needs the gguf package: {command}.": "GGUF 导出需要 gguf 软件包：{command}。",
    (
        "{form} is made by llama.cpp's own quantiser, and neither the program {name} (on PATH) nor the package "
        "llama-cpp-python is here. Install one of them, or use f16, q8_0 or q4_0, which need neither."
    ): (
        "{form} 由 llama.cpp 自己的量化程序生成，而程序 {name}（在 PATH 中）和软件包 llama-cpp-python 都没有。"
        "请安装其中之一，或用不需要它们的 f16、q8_0 或 q4_0。"
    ),
    "{source} holds values beyond float16's largest, 65504. Use bf16 or f32.": (
        "{source} 含有超过 float16 最大值 65504 的数。请用 bf16 或 f32。"
    ),
    "{file} is another one when {run} was trained.": "训练 {run} 之后，{file} 已经不同。",
    "folded into the original weights, another function than was trained": (
        "合并进了原始权重，与训练时的模型并不完全相同"
    ),
    "The prompt that differs first is number {n}, {text}.": "最先不同的是第 {n} 个提示：{text}。",
    "The export lacks {names}, which would be drawn at random.": "导出的模型缺少 {names}，这些权重会是随机的。",
    "Answers of the export end at the tokens {ids}; the model was trained to end them with {token}, too.": (
        "导出的模型在词元 {ids} 处结束回答；而训练时还用 {token} 结束。"
    ),
    "The export asks prompt {n} as {text}; the model was trained with {text1}.": (
        "导出的模型把第 {n} 个提示写成 {text}；而训练时是 {text1}。"
    ),
    "The export's tokenizer reads prompt {n}, {text}, as {text1}..., not {text2}....": (
        "导出的分词器把第 {n} 个提示 {text} 读成 {text1}……，而不是 {text2}……。"
    ),
    "special tokens (eos_token_id in generation_config.json)": "特殊词元（generation_config.json 中的 eos_token_id）",
    "weights that were left out or renamed": "权重被遗漏或改名",
    "precision ({form} rounds this model too much; {other} keep more of it)": (
        "精度（{form} 对这个模型舍入太多；{other} 保留得更多）"
    ),
    "precision ({form} rounds this model too much; a finer format keeps more of it)": (
        "精度（{form} 对这个模型舍入太多；更细的格式保留得更多）"
    ),
    "precision ({form} cannot hold this model's numbers, which become infinite; {other} can)": (
        "精度（{form} 装不下这个模型的数值，会变成无穷大；{other} 可以）"
    ),
    "The GGUF file does not answer like the model: {words}.": "GGUF 文件与模型的回答不同：{words}。",
    "An adapter is of one base: put that one back, or name it in recipe.yaml (model.name).": (
        "适配器只属于一个基座：请放回原来的，或在 recipe.yaml（model.name）中指明。"
    ),
    "--format belongs to quantized, onnx and gguf; merged is written in --dtype.": (
        "--format 用于 quantized、onnx 和 gguf；merged 的类型由 --dtype 决定。"
    ),
    "{folder} could not be uploaded to {repo}: {text}": "{folder} 无法上传到 {repo}：{text}",
    "The export itself is whole. Log in with `hf auth login`, with a token that may write.": (
        "导出本身是完整的。请用有写权限的令牌 `hf auth login` 登录。"
    ),
    (
        "The run was trained on a base in {form}. With the adapter folded in, its weights are others and were "
        "quantised anew, which rounds them a second time: the self-check's figures are of that."
    ): ("训练用的是 {form} 的基座。合并适配器后权重变了，又重新量化，等于再舍入一次：自检的数字就是这样得到的。"),
    (
        "It was trained on a base in {form}; on a GGUF of the original it is another function, and the check is of "
        "that one."
    ): "训练用的是 {form} 的基座；放在原始模型的 GGUF 上并不完全相同，检查针对的是后者。",
    "folded into the {form} base that was trained": "合并进了训练时的 {form} 基座",
    "opening the folder in transformers, in a fresh process": "在新进程中用 transformers 打开该文件夹",
    "opening the file in ONNX Runtime, in a fresh process": "在新进程中用 ONNX Runtime 打开该文件",
}

EVALUATION = {
    "better": "更好",
    "worse": "更差",
    "not distinguishable": "看不出差别",
    "different": "不同",
    "exact answers": "完全一致的回答",
    "valid JSON": "合法的 JSON",
    "ended by itself": "自行结束",
    "On {n} answers spread over the set: this metric needs all answers at once.": (
        "取自整个集合的 {n} 个回答：这个指标要同时用到所有回答。"
    ),
    "every answer of {name} is empty": "{name} 的所有回答都是空的",
    "{n} of {m} answers of {name} were cut at the length limit (--max-new-tokens)": (
        "{name} 的 {m} 个回答中有 {n} 个在长度上限处被截断（--max-new-tokens）"
    ),
    "{n} prompts were too long for the model and lost their beginning": "{n} 个提示对模型太长，丢掉了开头",
    "{n} prompts were too long for the model and left no room for an answer": "{n} 个提示对模型太长，没有留下回答的空间",
    "{n} shots, version {version}": "{n} 个示例，版本 {version}",
    "texts without prompts: nothing is answered": "没有提示的文本：无需回答",
    "{n} rows, {m} prompts: rows with one prompt are its references": "{n} 条数据，{m} 个提示：提示相同的各条都是参考答案",
    "{n} questions, {m} shots, version {version}": "{n} 个问题，{m} 个示例，版本 {version}",
    "Nothing to evaluate on: name data (--data FILE) or a task (--task NAME).": (
        "没有评测内容：请指定数据（--data FILE）或任务（--task NAME）。"
    ),
    "{name} holds no rows to evaluate on.": "{name} 没有可评测的数据。",
    "Another process evaluates in {folder}. Wait for it or stop it.": "另一个进程正在 {folder} 中评测。请等待或停止它。",
    "What was answered is kept in {folder}: the same command goes on there.": (
        "已回答的保存在 {folder}：同一个命令会从那里继续。"
    ),
    "{folder} holds answers of another evaluation; changed since: {names}.": (
        "{folder} 中是另一次评测的回答；之后变化的有：{names}。"
    ),
    "Begin anew with --restart, or keep both with --name NEW.": "请用 --restart 重新开始，或用 --name NEW 两者都保留。",
    "There is no task {name}": "没有任务 {name}",
    "Tasks of lm-evaluation-harness need the package lm_eval ({text}).": (
        "lm-evaluation-harness 的任务需要软件包 lm_eval（{text}）。"
    ),
    "lm-evaluation-harness has no task {name}": "lm-evaluation-harness 没有任务 {name}",
    "The question has {n} tokens; this model takes {m}, the answer included.": (
        "问题有 {n} 个词元；这个模型连同回答最多 {m} 个。"
    ),
    "The answer was not ready within {n} seconds.": "{n} 秒内没有得到回答。",
    "Too many requests wait already: try again later.": "等待的请求太多：请稍后再试。",
    "{name} was trained on its base in {form} weights and is served on {other}: its answers are a little other ones": (
        "{name} 在 {form} 权重的基座上训练，却在 {other} 上提供服务：回答会略有不同"
    ),
    "The task {name} found no rows in {file}.": "任务 {name} 在 {file} 中没有找到数据。",
    "No adapter folder {folder}.": "没有适配器文件夹 {folder}。",
    "the base, before training: {text} (as {words} found it)": "训练前的基座：{text}（由 {words} 测得）",
    "lowest {words}: {text}": "{words}最低：{text}",
    "highest {words}: {text}": "{words}最高：{text}",
    "lowest {words}: {text1}; not told apart from it: {text2}": "{words}最低：{text1}；与它分不出高下：{text2}",
    "highest {words}: {text1}; not told apart from it: {text2}": "{words}最高：{text1}；与它分不出高下：{text2}",
    "{words}: {text} with all of them": "{words}：全部都是 {text}",
    "one seed: how far chance moves a result is not known (--seeds 3)": (
        "只有一个种子：不知道偶然因素会让结果变化多少（--seeds 3）"
    ),
    "mean and standard deviation over {n} seeds": "{n} 个种子的均值与标准差",
    "{folder} holds no study.json, so it is no study. Choose another name with --name.": (
        "{folder} 里没有 study.json，因此不是对比研究。请用 --name 另取名称。"
    ),
    "{file} is not a study of this version of lorafit: {text}.": "{file} 不是这个版本的 lorafit 的对比研究：{text}。",
    "the tuned model": "微调后的模型",
}

DIFFERENCES = {
    "better by {a} points (95 % interval {b} to {c})": "好 {a} 个百分点（95% 区间 {b} 至 {c}）",
    "worse by {a} points (95 % interval {b} to {c})": "差 {a} 个百分点（95% 区间 {b} 至 {c}）",
    "higher by {a} points (95 % interval {b} to {c})": "高 {a} 个百分点（95% 区间 {b} 至 {c}）",
    "lower by {a} points (95 % interval {b} to {c})": "低 {a} 个百分点（95% 区间 {b} 至 {c}）",
    "better by {a} (95 % interval {b} to {c})": "好 {a}（95% 区间 {b} 至 {c}）",
    "worse by {a} (95 % interval {b} to {c})": "差 {a}（95% 区间 {b} 至 {c}）",
    "higher by {a} (95 % interval {b} to {c})": "高 {a}（95% 区间 {b} 至 {c}）",
    "lower by {a} (95 % interval {b} to {c})": "低 {a}（95% 区间 {b} 至 {c}）",
    "{known} (no interval for this metric)": "{known}（此指标没有区间）",
    "better by {a} points": "好 {a} 个百分点",
    "worse by {a} points": "差 {a} 个百分点",
    "higher by {a} points": "高 {a} 个百分点",
    "lower by {a} points": "低 {a} 个百分点",
    "better by {a}": "好 {a}",
    "worse by {a}": "差 {a}",
    "higher by {a}": "高 {a}",
    "lower by {a}": "低 {a}",
    "not distinguishable on {n} samples: {a} points (95 % interval {b} to {c})": (
        "在 {n} 个样本上看不出差别：{a} 个百分点（95% 区间 {b} 至 {c}）"
    ),
    "not distinguishable on {n} samples: {a} (95 % interval {b} to {c})": (
        "在 {n} 个样本上看不出差别：{a}（95% 区间 {b} 至 {c}）"
    ),
    "a true difference of this size would take about {n} samples to show": "真有这么大的差别，大约要 {n} 个样本才看得出来",
    "CIDEr of a single prompt is always 0.": "只有一个提示时，CIDEr 恒为 0。",
    "All references are one class: this score cannot tell a good answer from a constant one.": (
        "所有参考答案都是同一类：这个分数分不出好的回答与一成不变的回答。"
    ),
    "Japanese and Korean are cut into characters here; sacrebleu's ja-mecab and ko-mecab cut words.": (
        "这里把日文和韩文切成单个字符；sacrebleu 的 ja-mecab 和 ko-mecab 切成词。"
    ),
    "{words} needs the package {package}, which is not installed.": "{words} 需要软件包 {package}，而它没有安装。",
    "Install it with `{command}` (or `{other}`), or leave that metric out.": (
        "请用 `{command}`（或 `{other}`）安装，或去掉该指标。"
    ),
    "{name} needs a JSON Schema (--schema FILE).": "{name} 需要一个 JSON Schema（--schema FILE）。",
}

SENTENCES: dict[str, str] = EXPORTS | EVALUATION | DIFFERENCES
