"""Chinese of what the studio's own rooms refuse."""

SENTENCES: dict[str, str] = {
    "The last question is still being answered: wait for it, or stop it.": "上一个问题还在回答：请等待，或停止它。",
    "{path} cannot be made: {words}": "{path} 无法创建：{words}",
    "{path} cannot be made: {words}. Choose another folder.": "{path} 无法创建：{words}。请选择另一个文件夹。",
    "The chat's server did not start.": "对话服务没有启动。",
    "The end of its log:": "日志结尾：",
    "The chat's server does not answer: {text}.": "对话服务没有响应：{text}。",
    "The chat's server has ended.": "对话服务已经结束。",
    "There is none: it was stopped.": "没有日志：它是被停止的。",
    "The chat's server could not be started: {text}": "无法启动对话服务：{text}",
    "The chat's server gave no reason.": "对话服务没有说明原因。",
    "Revision {revision} of {name} cannot be chatted with by itself: choose a run with an adapter on it too.": (
        "{name} 的版本 {revision} 不能单独对话：请同时选择一个在其上训练了适配器的训练。"
    ),
    "The data set needs a name.": "数据集需要一个名称。",
    "{name} is being written by another process. Try again.": "另一个进程正在写入 {name}。请重试。",
    "{path} could not be written: {words}": "{path} 无法写入：{words}",
    "lorafit made a mistake: {text}. More is in {path}.": "lorafit 出错了：{text}。详情见 {path}。",
    (
        "The process that reads models and data ended (exit code {n}), perhaps for want of memory: try again. Its last "
        "words are in {path}."
    ): "读取模型和数据的进程结束了（退出码 {n}），可能是内存不足：请重试。最后的输出在 {path}。",
    "`lorafit doctor` ended without an answer (exit code {n}).": "`lorafit doctor` 没有给出结果就结束了（退出码 {n}）。",
    "{name} of a run is not given away: {names} are.": "训练的 {name} 不提供下载：可下载的有 {names}。",
    "{name} is no file of corrected answers.": "{name} 不是改正后的回答文件。",
    "There is no {name} in {folder}.": "{folder} 里没有 {name}。",
    "{path} is a link out of the folder, which is not given away.": "{path} 是指向文件夹外的链接，不提供下载。",
    "There is no setting {key}.": "没有设置 {key}。",
    "There is no such draft: it was removed, or belongs to another workspace.": (
        "没有这个草稿：它已被删除，或属于另一个工作区。"
    ),
    "{path} is not a draft.": "{path} 不是草稿。",
    "The name {name} has to be the name of a folder: letters, digits and - _ . +.": (
        "名称 {name} 要能作文件夹名：字母、数字和 - _ . +。"
    ),
    "Choose a task: {names}.": "请选择任务：{names}。",
    "Name {words}: a file or folder in {folder}.": "请指定{words}：{folder} 中的文件或文件夹。",
    "a data file": "数据文件",
    "where the questions of the task are": "任务问题所在的位置",
    "the examples": "示例",
    "the general text": "通用文本",
    "{option}: a whole number from {n} to {m} is needed, not {value}.": "{option}：应当是 {n} 至 {m} 的整数，而不是 {value}。",
    "There is no export {name} of the run {run}.": "训练 {run} 没有导出 {name}。",
    "{name} has no form {form}.": "{name} 没有 {form} 这种格式。",
    "taken out of the queue before it began": "开始之前已移出队列",
    "{folder} does not hold a whole job: {text}.": "{folder} 中不是完整的任务：{text}。",
    "It ended with exit code {n}. Look at its log.": "它以退出码 {n} 结束。请查看它的日志。",
    "It was ended by signal {n} ({name}).": "它被信号 {n}（{name}）终止。",
    "it ended with exit code {n}": "它以退出码 {n} 结束",
    "it was ended by signal {n} ({name})": "它被信号 {n}（{name}）终止",
    "it was ended by signal {n} ({name}), as the system does when memory runs out": (
        "它被信号 {n}（{name}）终止，内存耗尽时系统会这样做"
    ),
    "{name} cannot be the name of a job's file.": "{name} 不能作为任务文件的名称。",
    "There is no job {id} in the queue.": "队列中没有任务 {id}。",
    "Job {id} has not ended: cancel it first.": "任务 {id} 还没有结束：请先取消它。",
    "Process {n}, which works on run {name}, is another user's.": "正在处理训练 {name} 的进程 {n} 属于另一个用户。",
    "It could not be started: {words}": "无法启动：{words}",
    "{folder} holds no job: {text}": "{folder} 中没有任务：{text}",
    "The queue is being changed by another process ({path}).": "另一个进程正在修改队列（{path}）。",
    (
        "Process {n} works on run {name}, but it is no command of lorafit's (a notebook, perhaps): stop it where it was "
        "started."
    ): "进程 {n} 正在处理训练 {name}，但它不是 lorafit 的命令（可能是 notebook）：请在启动它的地方停止。",
    "Nothing works on run {name} at the moment.": "目前没有进程在处理训练 {name}。",
    "{path} has {n} bytes; the studio reads files of this kind up to {m}.": (
        "{path} 有 {n} 字节；工作室最多读取 {m} 字节的这类文件。"
    ),
    "The template of {name} cannot be read: {text}": "{name} 的模板无法读取：{text}",
    "Nobody answers by the name {name}: no run of that name has trained weights yet.": (
        "没有名为 {name} 的回答者：还没有该名称的训练有训练好的权重。"
    ),
    "{name} is not the name of a run: it has to be the name of a folder in runs/.": (
        "{name} 不是训练的名称：应当是 runs/ 中的文件夹名。"
    ),
    "There is no run {name} in {folder}.": "{folder} 中没有训练 {name}。",
    (
        "{key}: {text} would run code of its own, which the studio does not. Name a built-in metric, or run the recipe "
        "with `lorafit train` in a terminal."
    ): ("{key}：{text} 会运行自带的代码，工作室不会这样做。请使用内置指标，或在终端用 `lorafit train` 运行该配方。"),
    (
        "{text} is not a path within {folder}, and the studio stays in there. Copy what you need into that folder, or "
        "upload it."
    ): "{text} 不在 {folder} 之内，而工作室只使用其中的文件。请把需要的文件复制进去，或上传。",
    (
        "{key}: {text} is not a path within {folder}, and the studio stays in there. Copy what you need into that "
        "folder, or upload it."
    ): "{key}：{text} 不在 {folder} 之内，而工作室只使用其中的文件。请把需要的文件复制进去，或上传。",
    "{name} is not a file that lorafit trains on. It reads {names} and .zip; rows also compressed ({endings}).": (
        "{name} 不是 lorafit 能训练的文件。可读取 {names} 和 .zip；数据也可以是压缩的（{endings}）。"
    ),
    "{name} could not be written to {folder}: {words}.": "{name} 无法写入 {folder}：{words}。",
    "{name} is larger than the {n} bytes that can be uploaded. Copy it into {folder} instead, and choose it there.": (
        "{name} 超过了可上传的 {n} 字节。请把它复制到 {folder}，再从那里选择。"
    ),
    "{name} is empty.": "{name} 是空的。",
}
