"""Chinese of the screen `home`."""

CHINESE: dict[str, str] = {
    "Sweeps and comparisons": "参数扫描与方法对比",
    "{done} of {count} finished": "{count} 个中已完成 {done} 个",
    # a workspace without runs
    "Teach a language model your own data": "用你自己的数据教会语言模型",
    "lorafit takes a model that can already read and write, and trains a small addition to it with your "
    "examples: questions with the answers that you want, conversations or texts.": (
        "lorafit 以一个已经会读写的模型为基础，用你的示例为它训练一小块附加部分："
        "示例可以是问题和你想要的回答、对话或文本。"
    ),
    "You choose a model and a file; lorafit reads the file, proposes every setting, tells beforehand "
    "whether it fits this machine, and shows afterwards what has become better.": (
        "你只需选择模型和文件；lorafit 会读取文件、给出每项设置的建议、预先说明这台机器是否装得下，"
        "并在训练后展示哪里变好了。"
    ),
    "Try it with the built-in data": "用内置数据试一试",
    "The built-in model and data need no download: a first run takes a minute or two on a processor.": (
        "内置的模型和数据无需下载：第一次训练在处理器上只需一两分钟。"
    ),
    # this machine
    "This machine": "这台机器",
    "Memory of {gpu}": "{gpu} 的显存",
    "Work of {gpu}": "{gpu} 的负载",
    "Memory": "内存",
    "Processor": "处理器",
    "{used} of {total}": "已用 {used}，共 {total}",
    "not told": "未知",
    "The doctor is looking at this machine …": "正在检查这台机器……",
    "The doctor says: this machine is fit for training.": "检查结果：这台机器可以用于训练。",
    "Training works on this machine; the doctor's warnings say what to mind.": (
        "这台机器可以训练；检查给出了需要留意的警告。"
    ),
    "The doctor found faults: mend them first, else runs fail or are wrong.": (
        "检查发现故障：请先解决，否则训练会失败或出错。"
    ),
    # drafts
    "Begun": "尚未完成的新建",
    "Go on with {what}": "继续：{what}",
    "Throw away {what}": "丢弃 {what}",
    "Throw away this draft and its settings?": "要丢弃这份草稿和其中的设置吗？",
    "Throw away": "丢弃",
    # the queue
    "Queue": "队列",
    "One after another; it goes on when this page is closed.": "逐个进行；关闭本页面后仍会继续。",
    "Log": "日志",
    "Put away": "移除",
    "Earlier": "提前",
    "Later": "推后",
    "Stop and save": "停止并保存",
    "Stop at once": "立即停止",
    "It finishes its step, saves and stops …": "正在完成当前步骤，保存后停止……",
    "preparing …": "准备中……",
    "{update} of {updates} updates": "第 {update} 次更新，共 {updates} 次",
    "Its process is gone without a word: it was killed from outside, or by the system, "
    "as happens when memory runs out or the machine restarts.": (
        "它的进程无声无息地消失了：可能被外部或系统终止，例如内存耗尽或机器重启。"
    ),
    "Its process is gone and nobody saw how it ended: the queue's own process was gone by then. Look at its log.": (
        "它的进程已经结束，但没有记录它是如何结束的：当时队列自身的进程已不在。请查看它的日志。"
    ),
    # the runs
    "Search": "搜索",
    "All states": "全部状态",
    "State": "状态",
    "Compare": "比较",
    "Compare {count}": "比较 {count} 个",
    "Compare {name}": "比较 {name}",
    "No run is like that.": "没有符合条件的训练记录。",
    "Pages of the list": "列表的页码",
    "{shown} of {all} runs": "显示 {shown} 条，共 {all} 条",
    "Name": "名称",
    "Progress": "进度",
    "Loss": "损失",
    "Held-out loss": "留出集损失",
    "Base → tuned": "训练前 → 训练后",
    "When": "时间",
    "full fine-tuning": "全量微调",
    "{update} of {updates}": "{update} / {updates}",
    "{time} left": "剩余 {time}",
    "just now": "刚刚",
    "{count} min ago": "{count} 分钟前",
    "{count} h ago": "{count} 小时前",
    "{count} days ago": "{count} 天前",
}
