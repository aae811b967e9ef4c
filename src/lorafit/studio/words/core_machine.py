"""Chinese of what `lorafit doctor` finds on the machine, with its remedies (doctor/*.py)."""

GRAPHICS = {
    "pip uninstall torch, then the command that {address} gives for your system and driver": (
        "先 pip uninstall torch，再运行 {address} 针对你的系统和驱动给出的命令"
    ),
    "torch for AMD (ROCm {version}), which lorafit was not tested with": (
        "用于 AMD 的 torch（ROCm {version}），lorafit 没有在其上测试过"
    ),
    "torch for CUDA {version}, NVIDIA driver of unknown version": "用于 CUDA {version} 的 torch，NVIDIA 驱动版本未知",
    "torch for CUDA {version}, NVIDIA driver {driver}": "用于 CUDA {version} 的 torch，NVIDIA 驱动 {driver}",
    "{cards} is there, but this torch ({version}) is made for the processor alone and leaves it idle": (
        "有 {cards}，但这个 torch（{version}）只支持处理器，用不上它"
    ),
    "an NVIDIA card is there, but this torch ({version}) is made for the processor alone and leaves it idle": (
        "有 NVIDIA 显卡，但这个 torch（{version}）只支持处理器，用不上它"
    ),
    "CUDA_VISIBLE_DEVICES={value} hides every NVIDIA card: runs compute on the processor": (
        "CUDA_VISIBLE_DEVICES={value} 隐藏了所有 NVIDIA 显卡：训练会在处理器上计算"
    ),
    "CUDA_VISIBLE_DEVICES={value} hides {cards}: runs compute on the processor": (
        "CUDA_VISIBLE_DEVICES={value} 隐藏了 {cards}：训练会在处理器上计算"
    ),
    "the NVIDIA driver does not answer, runs compute on the processor: {text}": (
        "NVIDIA 驱动没有响应，训练会在处理器上计算：{text}"
    ),
    "reboot if the driver was just updated, or reinstall it": "刚更新过驱动请重启，否则请重新安装驱动",
    "no NVIDIA card found: runs compute on the processor, which is enough for small models": (
        "没有找到 NVIDIA 显卡：训练在处理器上计算，小模型足够了"
    ),
    "if there is one: install its driver; start a container with the card (docker run --gpus all)": (
        "如果有显卡：请安装驱动；启动容器时带上显卡（docker run --gpus all）"
    ),
    "{cards} is there, but libcuda, the driver's library for computing, is not": (
        "有 {cards}，但没有驱动的计算库 libcuda"
    ),
    "a container needs NVIDIA_DRIVER_CAPABILITIES=compute,utility; else reinstall the driver": (
        "容器需要 NVIDIA_DRIVER_CAPABILITIES=compute,utility；否则请重新安装驱动"
    ),
    "the driver of {cards} runs CUDA up to {version}, and this torch is made for CUDA {build}": (
        "{cards} 的驱动最高支持 CUDA {version}，而这个 torch 是为 CUDA {build} 构建的"
    ),
    "a newer driver, or a torch for CUDA {version}: {address}": "换更新的驱动，或用于 CUDA {version} 的 torch：{address}",
    "{cards} is there, but torch cannot use it ({text})": "有 {cards}，但 torch 无法使用它（{text}）",
    "a newer driver, or {words}": "换更新的驱动，或{words}",
    "{card} is of compute capability {version}; this torch has kernels for {names}": (
        "{card} 的计算能力是 {version}；这个 torch 只有 {names} 的内核"
    ),
    "another build of torch: {address}": "换另一个构建的 torch：{address}",
    "float16 with loss scaling (bfloat16 is slow on it)": "float16 加损失缩放（它的 bfloat16 很慢）",
    "{card}, compute capability {version}, computes in {words}; {a} of {b} free": (
        "{card}，计算能力 {version}，以 {words} 计算；共 {b}，空闲 {a}"
    ),
    "other processes hold {a} ({text})": "其他进程占用 {a}（{text}）",
    "stop them, or choose another card: model.device=cuda:N": "请停止它们，或选择另一张卡：model.device=cuda:N",
    "usable; {a} of memory recommended for it": "可用；建议使用 {a} 内存",
    "not usable (it needs an Apple processor and macOS 14 or newer)": "不可用（需要 Apple 处理器和 macOS 14 以上）",
}

HUBS = {
    "HF_HUB_OFFLINE is set: only models that are on this disk already can be used": (
        "设置了 HF_HUB_OFFLINE：只能使用磁盘上已有的模型"
    ),
    "unset HF_HUB_OFFLINE to download": "要下载请取消 HF_HUB_OFFLINE",
    "use a model folder on this disk": "使用磁盘上的模型文件夹",
    "take the model from ModelScope: model.name=modelscope:ID": "从 ModelScope 获取模型：model.name=modelscope:ID",
    "set HF_ENDPOINT to a mirror": "把 HF_ENDPOINT 设为镜像站",
    "correct HF_ENDPOINT": "改正 HF_ENDPOINT",
    "correct the proxy settings": "改正代理设置",
    "behind a proxy: set HTTPS_PROXY": "使用代理时：设置 HTTPS_PROXY",
    "{known1}, or {known2}": "{known1}，或{known2}",
    "its package is not installed: {command}": "它的软件包没有安装：{command}",
    "needed for modelscope:ID names alone": "只有使用 modelscope:ID 这样的名称时才需要",
    "{host} answers after {s} s": "{host} 在 {s} 秒后响应",
    "{host} answers after {s} s (proxy settings: {names})": "{host} 在 {s} 秒后响应（代理设置：{names}）",
    "{host} cannot be reached: {words}": "连不上 {host}：{words}",
    "it answers with HTTP status {n}": "返回 HTTP 状态 {n}",
    "no answer within {n} s": "{n} 秒内没有响应",
    "a Hugging Face token is there (not shown)": "有 Hugging Face 令牌（不显示）",
    "no Hugging Face token: public models need none": "没有 Hugging Face 令牌：公开模型不需要",
    "for gated or private ones: hf auth login": "需要授权的或私有的模型：hf auth login",
}

RESOURCES = {
    "multiplies bfloat16 natively": "原生支持 bfloat16 乘法",
    "has no native bfloat16: runs on it take float32": "没有原生 bfloat16：训练用 float32",
    "{n} cores ({m} logical), torch uses {name}; {words}": "{n} 核（{m} 逻辑核），torch 使用 {name}；{words}",
    "{n} core ({m} logical), torch uses {name}; {words}": "{n} 核（{m} 逻辑核），torch 使用 {name}；{words}",
    "another machine; a virtual machine may hide AVX2 from its guest (choose the host's processor model)": (
        "换一台机器；虚拟机可能对客户机隐藏了 AVX2（请选择宿主机的处理器型号）"
    ),
    "without vector instructions training on it is very slow": "没有向量指令，训练会非常慢",
    "torch computes with {n} threads on {words}: they wait for one another": (
        "torch 用 {n} 个线程在{words}上计算：它们会互相等待"
    ),
    "torch computes with {n} threads on {words} because of {name}: they wait for one another": (
        "因为 {name}，torch 用 {n} 个线程在{words}上计算：它们会互相等待"
    ),
    "{n} logical cores": "{n} 个逻辑核",
    "the {n} cores that this container has": "容器的 {n} 个核",
    "torch computes with {n} of {m} cores: slower than it need be": "torch 只用了 {m} 个核中的 {n} 个：比应有的慢",
    "torch computes with {n} of {m} cores because of {name}: slower than it need be": (
        "因为 {name}，torch 只用了 {m} 个核中的 {n} 个：比应有的慢"
    ),
    "torch computes with {n} on {m} cores": "torch 用 {n} 个线程在 {m} 核上计算",
    "torch computes with {n} on {m} core": "torch 用 {n} 个线程在 {m} 核上计算",
    "{a} of {b} available; {c} of swap": "共 {b}，可用 {a}；交换空间 {c}",
    "{a} of {b} available; no swap": "共 {b}，可用 {a}；没有交换空间",
    "only {a} of {b} available; {c} of swap": "共 {b}，只有 {a} 可用；交换空间 {c}",
    "only {a} of {b} available; no swap": "共 {b}，只有 {a} 可用；没有交换空间",
    "close other programs; small models and model.quantization=nf4 need least (`lorafit plan` says it)": (
        "请关闭其他程序；小模型和 model.quantization=nf4 占用最少（`lorafit plan` 会说明）"
    ),
    "this process may use {a} of the machine's {b}; the system kills it above that": (
        "机器共 {b}，本进程只能用 {a}；超过就会被系统终止"
    ),
    "raise the container's memory limit if a run dies without a word (docker run --memory, a pod's limits)": (
        "如果训练突然消失，请调高容器的内存限制（docker run --memory，或 pod 的 limits）"
    ),
    "the shell limits addresses to {a} (ulimit -v): allocations fail though memory is free": (
        "shell 把地址空间限制为 {a}（ulimit -v）：内存空闲也会分配失败"
    ),
    "free some space, or run lorafit in another folder (output=FOLDER puts the runs elsewhere)": (
        "请腾出空间，或在别的文件夹运行 lorafit（output=FOLDER 把训练放到别处）"
    ),
    "have it elsewhere: export HF_HOME=FOLDER; what is in it and not needed goes with `hf cache`": (
        "放到别处：export HF_HOME=FOLDER；其中不需要的可用 `hf cache` 清理"
    ),
    "nothing can be written in {words} ({text})": "无法写入{words}（{text}）",
    "only {a} free in {words}": "{words}只剩 {a}",
    "{a} free in {words}": "{words}剩余 {a}",
    "the working folder": "工作文件夹",
    "{a} free in {folder}, where models are downloaded to": "模型下载到的 {folder} 剩余 {a}",
    "only {a} free in {folder}, where models are downloaded to": "模型下载到的 {folder} 只剩 {a}",
    "nothing can be written in {folder}, where models are downloaded to ({text})": (
        "模型要下载到 {folder}，但那里无法写入（{text}）"
    ),
}

SOFTWARE = {
    "{name} is too old": "{name} 太旧",
    "install Python 3.11 or newer, and lorafit in it": "请安装 Python 3.11 或更新版本，并在其中安装 lorafit",
    "{name}, in a virtual environment": "{name}，在虚拟环境中",
    (
        "{name}, not in a virtual environment: another program's packages can change those of lorafit"
    ): "{name}，不在虚拟环境中：其他程序的软件包可能影响 lorafit 的",
    "python -m venv .venv, and install lorafit in there": "python -m venv .venv，然后在其中安装 lorafit",
    "reinstall it: pip install --force-reinstall torch, or choose a build on {address}": (
        "请重新安装：pip install --force-reinstall torch，或在 {address} 选择一个构建"
    ),
    "cannot be imported ({text})": "无法导入（{text}）",
    "{name}; lorafit needs {version}": "{name}；lorafit 需要 {version}",
    "{name} is newer than the newest one that lorafit was tested with ({version})": (
        "{name} 比 lorafit 测试过的最新版本（{version}）还新"
    ),
    "if something is odd: {command}": "如果有异常：{command}",
    "{name} (tested up to {version})": "{name}（测试到 {version}）",
    "is not installed": "没有安装",
    "{names}: all in the ranges that lorafit asks for": "{names}：都在 lorafit 要求的范围内",
    "only if you want one of these: {command}, and so on": "只在需要其中某项时：{command} 等",
    "optional, not installed ({words})": "可选，未安装（{words}）",
    "near duplicates, languages and mojibake in training data": "训练数据中的近似重复、语言和乱码",
    "data sets from Hugging Face, Parquet and Arrow files": "Hugging Face 数据集、Parquet 和 Arrow 文件",
    "BLEU, METEOR and JSON schemas": "BLEU、METEOR 和 JSON Schema",
    "Chinese and Japanese words in scores": "评分中的中文和日文分词",
    "training data from .docx, .pdf and web pages": "来自 .docx、.pdf 和网页的训练数据",
    "curves in TensorBoard": "TensorBoard 中的曲线",
    "curves in Weights & Biases": "Weights & Biases 中的曲线",
    "temperature and power of NVIDIA cards": "NVIDIA 显卡的温度和功耗",
    "an HTTP server for the tuned model": "微调模型的 HTTP 服务",
    "the interface in the browser": "浏览器界面",
    "export for llama.cpp": "导出到 llama.cpp",
    "export to ONNX": "导出到 ONNX",
    "tasks of lm-evaluation-harness": "lm-evaluation-harness 的任务",
    "models from ModelScope": "来自 ModelScope 的模型",
    "all optional parts are installed": "可选部分都已安装",
    "install lorafit with pip: only then it knows what it needs": "请用 pip 安装 lorafit：这样才知道它需要什么",
    "please report it, with the file of `lorafit doctor --json FILE`": (
        "请报告这个问题，并附上 `lorafit doctor --json FILE` 的文件"
    ),
    "could not be checked ({text})": "无法检查（{text}）",
    "{words}: mend the faults first, else runs fail or are wrong (exit code 4)": (
        "{words}：请先解决错误，否则训练会失败或出错（退出码 4）"
    ),
    "{words}: training works on this machine; the warnings say what to mind": (
        "{words}：这台机器可以训练；警告说明了要注意什么"
    ),
    "this machine is fit for training": "这台机器适合训练",
    "{n} faults and {m} warnings": "{n} 个错误和 {m} 个警告",
    "{n} fault and {m} warnings": "{n} 个错误和 {m} 个警告",
    "{n} faults and {m} warning": "{n} 个错误和 {m} 个警告",
    "{n} fault and {m} warning": "{n} 个错误和 {m} 个警告",
    "{n} faults": "{n} 个错误",
    "{n} fault": "{n} 个错误",
    "{n} warnings": "{n} 个警告",
    "{n} warning": "{n} 个警告",
}

TRIALS = {
    "cannot be used: bitsandbytes is not installed": "不能使用：没有安装 bitsandbytes",
    (
        "pip install bitsandbytes where it exists for this system, or train with model.quantization=none (--method "
        "lora)"
    ): "如果它支持这个系统，请 pip install bitsandbytes；或用 model.quantization=none（--method lora）训练",
    (
        "reinstall bitsandbytes for this torch and driver (pip install --force-reinstall --no-deps bitsandbytes); until "
        "then train with model.quantization=none (--method lora)"
    ): (
        "请为当前的 torch 和驱动重装 bitsandbytes（pip install --force-reinstall --no-deps bitsandbytes）；"
        "在此之前用 model.quantization=none（--method lora）训练"
    ),
    "until then train with model.quantization=none (--method lora)": (
        "在此之前用 model.quantization=none（--method lora）训练"
    ),
    "computes wrong numbers on {device} in {dtype} (bitsandbytes {version}): {text}": (
        "在 {device} 上以 {dtype} 计算的结果错误（bitsandbytes {version}）：{text}"
    ),
    (
        "forward and backward are right on {device} in {dtype} (bitsandbytes {version}); off by {a}, rounding alone"
    ): "在 {device} 上以 {dtype} 计算，前向和反向都正确（bitsandbytes {version}）；误差 {a}，只是舍入",
    (
        "a step of the built-in model on {device} in {dtype} gives loss {a} and gradient norm {b}"
    ): "内置模型在 {device} 上以 {dtype} 训练一步，损失是 {a}，梯度范数是 {b}",
    "try model.device=cpu, or model.dtype=float32; please report this": (
        "请试 model.device=cpu 或 model.dtype=float32；并请报告这个问题"
    ),
    "loss {a}, gradient norm {b}": "损失 {a}，梯度范数 {b}",
    (
        "a step of the built-in model on {device} in {dtype} takes {s} s, where a fraction of one is usual ({words})"
    ): "内置模型在 {device} 上以 {dtype} 训练一步要 {s} 秒，通常不到一秒（{words}）",
    "see whether other programs use the processor or the card": "请看看是否有别的程序在用处理器或显卡",
    "works: {n} examples of the built-in model on {device} in {dtype} in {s} s ({words})": (
        "正常：内置模型在 {device} 上以 {dtype} 训练 {n} 个样本用了 {s} 秒（{words}）"
    ),
}

SENTENCES: dict[str, str] = GRAPHICS | HUBS | RESOURCES | SOFTWARE | TRIALS
