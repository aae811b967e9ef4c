"""Chinese of the screen `export`, and of the page that asks for the token."""

CHINESE: dict[str, str] = {
    # login.py
    "This studio asks for its token": "此工作室需要令牌",
    "Whoever started it has the token: it was printed, or chosen, in the terminal.": (
        "令牌在启动它的人手中：启动时显示在终端里，或由其自行设定。"
    ),
    "That is not the token.": "令牌不正确。",
    "Open the studio": "打开工作室",
    # the screen
    "This run holds no trained weights yet: let it finish, then export it.": (
        "这次训练还没有可用的权重：等它完成后再导出。"
    ),
    "Make an export": "新建导出",
    "Each is opened by the program that will use it and compared with the trained model before you get it.": (
        "每个导出都会先由实际使用它的程序打开，与训练好的模型比对，通过后才交给你。"
    ),
    "Opened by: {programs}": "可用程序：{programs}",
    "Kind of numbers": "数值格式",
    "This export is being made already.": "这个导出正在进行中。",
    # a finished export
    "The self-check held: it answers like the trained model.": "自检通过：回答与训练好的模型一致。",
    "It answers otherwise than the trained model, as its README.md explains.": (
        "它的回答与训练好的模型有出入，原因见其 README.md。"
    ),
    "Same tokens": "相同的词元",
    "on {count} prompts": "共 {count} 条提示",
    "Largest difference": "最大差异",
    "of a likely token's log-probability": "高概率词元的对数概率",
    "of a likely token's logit": "高概率词元的 logit",
    "against the trained model": "相对于训练好的模型",
    "Size": "大小",
    "Download all": "全部下载",
    "With Ollama, in the unpacked folder: ollama create NAME -f Modelfile": (
        "用 Ollama 时，在解压后的文件夹中运行：ollama create 名称 -f Modelfile"
    ),
    "How to use it is in its README.md.": "用法见其 README.md。",
    # why not
    "This run trained every weight: there is no adapter. Take GGUF.": (
        "这次训练更新了全部权重，没有适配器。请选择 GGUF。"
    ),
    "Not installed here: {names}. Run: pip install {wanted}": "此处未安装：{names}。请运行：pip install {wanted}",
    # the kinds
    "Whole model": "完整模型",
    "What was learnt, folded into the base: an ordinary model folder, for a server or a hub.": (
        "把学到的内容合并进基座，得到通用的模型文件夹。适合部署到服务器或上传到模型库。"
    ),
    "GGUF, for your own computer": "GGUF，在自己的电脑上运行",
    "One file that runs without Python, also on a laptop without a GPU.": (
        "单个文件，无需 Python，没有显卡的笔记本也能运行。"
    ),
    "Whole model in 4 or 8 bits": "4 位或 8 位的完整模型",
    "A model folder of a quarter or half the size, for a GPU with little memory.": (
        "大小为原来四分之一或一半的模型文件夹，适合显存较小的显卡。"
    ),
    "transformers with bitsandbytes": "transformers（配合 bitsandbytes）",
    "ONNX": "ONNX",
    "A graph for programs in C++, C#, Java or JavaScript, on many kinds of chips.": (
        "计算图，供 C++、C#、Java 或 JavaScript 程序在多种芯片上使用。"
    ),
    "GGUF of the adapter alone": "仅适配器的 GGUF",
    "A small file that is put on a GGUF of the same base: many adapters share one base.": (
        "一个小文件，加载在同一基座的 GGUF 之上：多个适配器共用一个基座。"
    ),
    # the forms
    "as the base has them": "与基座相同",
    "8 bits: hardly any loss": "8 位：几乎无损",
    "6 bits: very little loss": "6 位：损失很小",
    "5 bits: little loss": "5 位：损失较小",
    "4 bits: the usual choice for a small computer": "4 位：小型电脑的常用选择",
    "2 bits: smallest, and clearly worse": "2 位：最小，但质量明显下降",
    "16 bits: nothing lost, twice the size of 8 bits": "16 位：无损，大小是 8 位的两倍",
    "4 bits: a quarter of the size": "4 位：大小为四分之一",
    "8 bits: half the size": "8 位：大小减半",
    "32 bits: exact, largest": "32 位：精确，最大",
}
