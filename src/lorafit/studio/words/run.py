"""Chinese of the screen `run`."""

CHINESE: dict[str, str] = {
    "asked again after each measurement": "每次测量后重新回答",
    "After update {update}": "第 {update} 次更新后",
    # head and buttons
    "Resume": "继续训练",
    "Results": "结果",
    "Report": "报告",
    "Run again with changes": "修改后再训练一次",
    "Run again with {setting}": "用 {setting} 再训练一次",
    "Take out of the queue": "移出队列",
    "Stop this run?": "停止这次训练？",
    "It finishes its update and saves. Resume goes on from there, with the same result.": (
        "它会完成当前这次更新并保存。之后可以从那里继续训练，结果与不停止时相同。"
    ),
    "It has not begun to train, so that nothing is lost.": "训练还没有开始，不会丢失任何东西。",
    "Go on training": "继续，不停止",
    "It stops after the update that it is at. Stop again, after ten seconds, ends it at once.": (
        "它会在当前这次更新之后停止。十秒后再按一次“停止”，则立即结束。"
    ),
    "Stopping …": "正在停止……",
    "Nothing was heard of it for {minutes} minutes: its process was probably killed.": (
        "已有 {minutes} 分钟没有它的消息：它的进程很可能被终止了。"
    ),
    "Resume goes on from its newest checkpoint.": "“继续训练”会从最新的检查点接着训练。",
    # progress
    "update {update} of {updates}": "第 {update} 次更新，共 {updates} 次",
    "training is done, the rest follows": "训练已完成，正在做余下的工作",
    "about {time} left": "大约还需 {time}",
    "{hours} h {minutes} min": "{hours} 小时 {minutes} 分",
    "{minutes} min {seconds} s": "{minutes} 分 {seconds} 秒",
    "{seconds} s": "{seconds} 秒",
    # figures
    "of the last update": "最近一次更新",
    "best {loss} after update {update}": "最低 {loss}，在第 {update} 次更新之后",
    "Tokens a second": "每秒词元数",
    "GPU {used}, {busy} busy": "GPU 显存 {used}，利用率 {busy}",
    "peak {size}": "峰值 {size}",
    "gradient norm {norm}": "梯度范数 {norm}",
    # charts
    "loss": "损失",
    "smoothed": "平滑后",
    "learning rate": "学习率",
    "Gradient norm": "梯度范数",
    "norm": "范数",
    "before clipping": "裁剪之前",
    "tokens a second": "每秒词元数",
    "in use": "正在使用",
    "peak so far": "至今的峰值",
    "Zoom in": "放大",
    "Zoom out": "缩小",
    "Earlier updates": "更早的更新",
    "Later updates": "更晚的更新",
    "The whole run": "整个训练过程",
    "update {number}": "第 {number} 次更新",
    "updates {first} to {last}": "第 {first} 到 {last} 次更新",
    # findings, answers, log
    "What the doctor found": "诊断发现的问题",
    "Answers to held-out prompts": "对留出集提示的回答",
    "the first {count}": "前 {count} 条",
    "Tuned": "微调后",
    "All answers and scores": "全部回答与得分",
    "It waits in the queue for what is before it.": "它在队列中等待前面的任务。",
    "This run was started in a terminal: its log is there.": "这次训练是在终端里启动的：日志在那里。",
    "Starting: {seconds} s. The packages take a while.": "正在启动：{seconds} 秒。加载软件包需要一点时间。",
    "It said nothing.": "它没有任何输出。",
}
