"""Chinese of what is wrong with data files and their rows (data/readers, forms, documents)."""

ROWS = {
    "{file}, row {n}: {words}": "{file} 第 {n} 条：{words}",
    "{file}, row {n}, field {field}: {words}": "{file} 第 {n} 条，字段 {field}：{words}",
    "{file}, row {n}, columns {field}: {words}": "{file} 第 {n} 条，列 {field}：{words}",
    "{file}, row {n}": "{file} 第 {n} 条",
    "{n} of {m} rows cannot be used:": "{m} 条数据中有 {n} 条无法使用：",
    "... and {n} more": "……以及另外 {n} 条",
    "Mend these rows, or leave them out with `data.bad_rows=drop` (they are counted and kept aside).": (
        "请改正这些数据，或用 `data.bad_rows=drop` 去掉它们（会计数并另存）。"
    ),
    "should be a text that is not empty, found {words}": "应当是非空的文本，实际是{words}",
    "should be a text, found {words}": "应当是文本，实际是{words}",
    "should be a list of turns, found {words}": "应当是轮次的列表，实际是{words}",
    "should be a list of tools, found {words}": "应当是工具的列表，实际是{words}",
    "should be an object with role and content, found {words}": "应当是含 role 和 content 的对象，实际是{words}",
    "should be one of {known}, found {words}": "应当是 {known} 之一，实际是{words}",
    "should be 0 or 1, found {words}": "应当是 0 或 1，实际是{words}",
    "should be true or false (KTO), found {words}": "应当是 true 或 false（KTO），实际是{words}",
    "should be a list of [question, answer] pairs, found {words}": "应当是 [问题, 回答] 对的列表，实际是{words}",
    "should be an object, or one as JSON text, found {words}": "应当是对象或 JSON 文本形式的对象，实际是{words}",
    "should be a call with name and arguments, or a list of them, found {words}": (
        "应当是含名称和参数的调用或其列表，实际是{words}"
    ),
    "should be a part of type text (lorafit trains on text), found {words}": (
        "应当是 text 类型的部分（lorafit 只用文本训练），实际是{words}"
    ),
    "a call should be an object with name and arguments, found {words}": "调用应当是含名称和参数的对象，实际是{words}",
    "tool {n} should be an object with a name, found {words}": "第 {n} 个工具应当是有名称的对象，实际是{words}",
    "turn {n} should be a [question, answer] pair of texts, found {value}": (
        "第 {n} 轮应当是一对 [问题, 回答] 文本，实际是 {value}"
    ),
    "should end with the user, whom the chosen answer answers": "应当以用户结尾，所选的回答正是回答他的",
    "its label says that this answer is not wanted": "它的标签表示这个回答不是想要的",
    "an empty text": "空文本",
    "the text {value}": "文本 {value}",
    "a list of {n}": "{n} 个元素的列表",
    "an object": "对象",
    "missing; the row has {names}": "缺少；这条数据有 {names}",
    "missing; the row has no fields": "缺少；这条数据没有任何字段",
    "a system message is only understood as the first one": "系统消息只能放在第一条",
    "the conversation should begin with a user message": "对话应当以用户消息开头",
    "the last message should be the assistant's answer: there is nothing to train on after it": (
        "最后一条消息应当是助手的回答：它之后没有可训练的内容"
    ),
    "turn {n} is a tool's answer, but turn {m} called no tool": "第 {n} 轮是工具的结果，但第 {m} 轮没有调用工具",
    "turns {n} and {m} are both of the {role}; they should alternate": (
        "第 {n} 轮和第 {m} 轮都是 {role} 的；双方应当交替"
    ),
    "turn {n} is a tool's answer; an assistant's turn should follow it": "第 {n} 轮是工具的结果；后面应当是助手的一轮",
    "every answer has weight 0: there is nothing to train on": "所有回答的权重都是 0：没有可训练的内容",
    "there is no prompt: no column of it, and no `Human:` and `Assistant:` in this text": (
        "没有提示：没有相应的列，文本中也没有 `Human:` 和 `Assistant:`"
    ),
    "holds half a surrogate pair at character {n}: a character was cut in two": (
        "第 {n} 个字符处只有半个代理对：一个字符被切成了两半"
    ),
    "is a text that begins like JSON and cannot be read as it: {text}": "开头像 JSON，却无法按 JSON 读取：{text}",
    (
        "these columns are no form that is known; say which is which, as in data.columns={prompt: QUESTION, answer: "
        "ANSWER}, {messages: TURNS} or {text: TEXT}"
    ): (
        "这些列不是已知的格式；请说明各列的含义，例如 data.columns={prompt: 问题列, answer: 回答列}、"
        "{messages: 对话列} 或 {text: 文本列}"
    ),
    (
        "this is a multiple-choice question: without its choices there is nothing to learn from it; use it as a task, "
        "or name columns that hold the whole question and answer in data.columns"
    ): "这是选择题：没有选项就学不到东西；请把它用作评测任务，或在 data.columns 中指明含完整问题和回答的列",
    "{file} has no column {column}, which is to be {role}.": "{file} 没有应当作为 {role} 的列 {column}。",
    "The columns are {names}.": "现有的列：{names}。",
    "The columns are {names} and {n} more.": "现有的列：{names} 等，另有 {n} 列。",
    "Did you mean {name}?": "你是指 {name} 吗？",
    "did you mean {name}?": "你是指 {name} 吗？",
    "a source has no key {name}; it has {names}": "数据来源没有 {name} 这个键；可用的有 {names}",
    "a prompt needs its answer: name the column of `answer` too (for text to go on with, `text`)": (
        "有提示就要有回答：请同时指明 `answer` 列（续写用的文本请用 `text`）"
    ),
    "an answer needs its question: name the column of `prompt` too": "有回答就要有问题：请同时指明 `prompt` 列",
}

FILES = {
    "The data file {file} cannot be read: {words}": "数据文件 {file} 无法读取：{words}",
    "The data file {file} holds no rows.": "数据文件 {file} 里没有数据。",
    "The data file {file} is empty. It should hold rows as JSON, JSONL, CSV or text.": (
        "数据文件 {file} 是空的。其中应当是 JSON、JSONL、CSV 或文本形式的数据。"
    ),
    "The data file {file} holds an empty array: there are no rows.": "数据文件 {file} 是空数组：没有数据。",
    "No data file {file}: {words}": "没有数据文件 {file}：{words}",
    "there is no folder {folder}.": "没有文件夹 {folder}。",
    "did you mean {names} (in dataset_info.json)?": "你是指 {names} 吗（在 dataset_info.json 中）？",
    "data files in {folder}: {names}.": "{folder} 中的数据文件：{names}。",
    "{folder} holds no data file.": "{folder} 里没有数据文件。",
    "The folder {folder} holds no data.": "文件夹 {folder} 里没有数据。",
    "Put in JSON, JSONL, CSV, Parquet, Arrow or text files, or documents, or name another folder.": (
        "请放入 JSON、JSONL、CSV、Parquet、Arrow、文本文件或文档，或指定另一个文件夹。"
    ),
    "The pattern {name} matches only folders.": "通配符 {name} 只匹配到文件夹。",
    "{name} is a tar archive. Unpack it, and name the folder.": "{name} 是 tar 压缩包。请解压后指定文件夹。",
    "{name} is a document or an archive, though its name says {ending}.": (
        "{name} 其实是文档或压缩包，尽管名称说是 {ending}。"
    ),
    "Give it its own ending (.pdf, .docx, .zip, …), or name the right file.": (
        "请改成正确的扩展名（.pdf、.docx、.zip……），或指定正确的文件。"
    ),
    "{name} is no {ending} file, though its name says so: it is damaged or cut off. Get it again.": (
        "{name} 不是 {ending} 文件，尽管名称如此：文件损坏或不完整。请重新获取。"
    ),
    "{name} is read as {form}, which it is, though its name says {ending}": (
        "{name} 按 {form} 读取，实际就是这种格式，尽管名称说是 {ending}"
    ),
    "{name} is not a ZIP archive, or is cut off: get it again.": "{name} 不是 ZIP 压缩包，或不完整：请重新获取。",
    "{name} is a damaged ZIP archive: {text}.": "{name} 是损坏的 ZIP 压缩包：{text}。",
    "The archive {name} holds no data file, but {found}. Unpack it and name what to read.": (
        "压缩包 {name} 里没有数据文件，只有 {found}。请解压后指定要读取的内容。"
    ),
    "It is damaged or cut off: get it again.": "文件损坏或不完整：请重新获取。",
    "It is damaged: get it again.": "文件已损坏：请重新获取。",
    "Get it again.": "请重新获取。",
    "{file} cannot be unpacked: {words}.": "{file} 无法解压：{words}。",
    "it ends too early": "文件提前结束",
    "{file}, line {n}: this is not {encoding}, as the rest of the file is ({found}).": (
        "{file} 第 {n} 行：这里不是 {encoding}，而文件其余部分是（{found}）。"
    ),
    "Mend or remove these bytes, or save the file again as UTF-8.": "请改正或删除这些字节，或把文件重新存为 UTF-8。",
    "this JSON cannot be read: {words}.": "这段 JSON 无法读取：{words}。",
    "broken JSON at line {n}, column {m}: {words}.": "第 {n} 行第 {m} 列的 JSON 有错：{words}。",
    "a row should be an object with named fields, found {value}.": "每条数据应当是有字段名的对象，实际是 {value}。",
    "expected a comma or a closing bracket between rows": "数据之间应当有逗号或右方括号",
    "expected a comma or a closing brace": "应当有逗号或右花括号",
    "expected a name in double quotes, or a closing brace": "应当是双引号中的名称，或右花括号",
    "expected a colon after the name": "名称后应当有冒号",
    "unterminated string": "字符串没有结束",
    "Unterminated string": "字符串没有结束",
    "unterminated string starting at": "字符串没有结束",
    "expecting value": "缺少值",
    "expecting ',' delimiter": "缺少逗号",
    "expecting ':' delimiter": "缺少冒号",
    "expecting property name enclosed in double quotes": "属性名应当放在双引号中",
    "extra data": "后面有多余的内容",
    "{file}: there is more text after the array's closing bracket (row {n}).": (
        "{file}：数组的右方括号之后还有内容（第 {n} 条）。"
    ),
    "{file}: the array ends after row {n} without a closing bracket `]`.": (
        "{file}：数组在第 {n} 条之后结束，却没有右方括号 `]`。"
    ),
    "{file} holds one object with lists of rows in {name} and in {other}.": (
        "{file} 是一个对象，{name} 和 {other} 里都有数据列表。"
    ),
    "Save the one to train on by itself, as a JSON array or as JSONL.": (
        "请把要训练的那个单独存为 JSON 数组或 JSONL。"
    ),
    "{file}: the column {name} is there twice in the first line, which should name the columns.": (
        "{file}：第一行应当是列名，而列 {name} 出现了两次。"
    ),
    "Rename one of them (or add the line, if the file has no names).": "请给其中一个改名（文件没有列名时请加上一行）。",
    "the row has {n} cells, but the first line names {m} columns: is a quote missing?": (
        "这一行有 {n} 个单元格，而第一行有 {m} 个列名：是不是少了引号？"
    ),
    "the row has {n} cells, but there are names for {m} columns: is a quote missing?": (
        "这一行有 {n} 个单元格，而只有 {m} 列的名称：是不是少了引号？"
    ),
    "this row cannot be read: {text}.": "这一行无法读取：{text}。",
    "A quote may be open that is never closed, or the file is not CSV.": "可能有引号没有闭合，或者文件不是 CSV。",
    "{name} is a Parquet or Arrow file, for which the package pyarrow is missing.": (
        "{name} 是 Parquet 或 Arrow 文件，缺少读取它的软件包 pyarrow。"
    ),
    "{name} is packed with Zstandard, for which the package zstandard is missing.": (
        "{name} 用 Zstandard 压缩，缺少软件包 zstandard。"
    ),
    "Run: {command}": "请运行：{command}",
    "{file} holds rows of several forms: {forms}": "{file} 含有多种格式的数据：{forms}",
    "{file} is in two sources of data.train, {name} and {other}.": "{file} 同时在 data.train 的两个来源 {name} 和 {other} 中。",
    "Name it once; to train on it more often, give it a weight.": "请只写一次；想多训练几遍，请给它加权重。",
    "{name}: only the training split is read, not {others} (another one by `{form}`)": (
        "{name}：只读取训练部分，不读 {others}（用 `{form}` 读取另一部分）"
    ),
    "{folder}: only the files with rows are read, not {names}": "{folder}：只读取含数据的文件，不读 {names}",
    "{folder}: left out {n} × {words}": "{folder}：去掉 {n} 个：{words}",
    "The data set {name} cannot be read from {hub}: {text}": "无法从 {hub} 读取数据集 {name}：{text}",
    "Is it spelt so, and are you online? Without a network, download it elsewhere and name its folder.": (
        "名称写对了吗？联网了吗？没有网络时，请在别处下载，再指定其文件夹。"
    ),
    "{file} cannot be read as JSON: {words}.": "{file} 无法按 JSON 读取：{words}。",
    "Mend it, or name the data file itself.": "请改正它，或直接指定数据文件。",
    "{file} should be an object of data sets by their names.": "{file} 应当是以名称列出数据集的对象。",
    "Name the data file itself.": "请直接指定数据文件。",
    "{file}, data set {name}: {words}": "{file}，数据集 {name}：{words}",
    "it has {names}, and lorafit trains on text only.": "它含有 {names}，而 lorafit 只用文本训练。",
    "formatting {name} is not known; it should be alpaca, sharegpt or openai.": (
        "不认识格式 {name}；应当是 alpaca、sharegpt 或 openai。"
    ),
    "it has no file_name, hf_hub_url or ms_hub_url, so there is nothing to read.": (
        "它没有 file_name、hf_hub_url 或 ms_hub_url，因此没有可读取的内容。"
    ),
    "Name the files in them, as in {name}.": "请指定其中的文件，例如 {name}。",
    "{name} has no split {split}: its files are called after {names}.": "{name} 没有 {split} 部分：它的文件属于 {names}。",
    "{name} has no split `train`, but {names}.": "{name} 没有 `train` 部分，只有 {names}。",
    "Name one, as in {name}.": "请指定其中一个，例如 {name}。",
    "There is no file {file}, so {name} is a data set of a hub; for that the package {package} is missing.": (
        "没有文件 {file}，因此 {name} 是网上的数据集；读取它缺少软件包 {package}。"
    ),
    "cannot be written as JSON: {text}": "无法写成 JSON：{text}",
    "{name}: {n} more files are read alike": "{name}：另有 {n} 个文件按同样方式读取",
    "{name} is {source}, as dataset_info.json says": "按 dataset_info.json，{name} 是 {source}",
}

DOCUMENTS = {
    "This PDF is damaged: {text}.": "这个 PDF 已损坏：{text}。",
    "None of its {n} pages has text.": "它的 {n} 页都没有文字。",
    "This PDF is locked by a password.": "这个 PDF 有密码保护。",
    "Unlock it (you need the password): {command}": "请解锁（需要密码）：{command}",
    "This is not a PDF, or a damaged one.": "这不是 PDF，或已损坏。",
    "Try: {command}": "请尝试：{command}",
    "{words} has text, only pictures: a scan.": "{words}有文字，只有图片：是扫描件。",
    "Recognise its text first: {command}": "请先识别文字：{command}",
    "This Word file is locked by a password.": "这个 Word 文件有密码保护。",
    "Open it in Word and save it without one.": "请在 Word 中打开，去掉密码后保存。",
    "This is an old Word file (.doc).": "这是旧版 Word 文件（.doc）。",
    "Convert it: {command}": "请转换：{command}",
    "This is not a Word file, or a damaged one ({text}).": "这不是 Word 文件，或已损坏（{text}）。",
    "Save it again from Word.": "请在 Word 中重新保存。",
    "This Word file has no text.": "这个 Word 文件没有文字。",
    "This book is locked (DRM).": "这本书有 DRM 保护。",
    "This page is empty.": "这个网页是空的。",
    "Leave it out.": "请去掉它。",
    "Files of the kind {ending} are not read.": "不读取 {ending} 类型的文件。",
    "There is no such file or folder.": "没有这样的文件或文件夹。",
    "Check its name.": "请检查名称。",
    "Check its rights.": "请检查权限。",
    "empty file": "空文件",
    "generated file": "生成的文件",
    "minified file": "压缩过的代码文件",
    "lock file": "锁文件",
    "hidden file": "隐藏文件",
    "hidden folder": "隐藏文件夹",
    "No document could be read from {names}.": "{names} 中没有能读取的文档。",
    "Each of the pages {numbers} of {n} has no text": "共 {n} 页，第 {numbers} 页没有文字",
    "Page {k} of {n} has no text, only pictures: a scan.": "第 {k} 页（共 {n} 页）没有文字，只有图片：是扫描件。",
    "This PDF is locked in a way that PDFium does not know.": "这个 PDF 的加密方式无法识别。",
    "Print it to a new PDF.": "请打印成新的 PDF。",
    "If its pages are pictures, print it to PDF and use ocrmypdf.": "如果页面是图片，请打印成 PDF 再用 ocrmypdf 识别。",
    "This page has no text in its source; perhaps a script brings it in.": "网页源码中没有文字，可能由脚本载入。",
    "Save the page as your browser shows it, or print it to a PDF.": "请按浏览器显示的样子保存网页，或打印成 PDF。",
    "This is not an EPUB book, or a damaged one ({text}).": "这不是 EPUB 电子书，或已损坏（{text}）。",
    "This book has no text in its chapters.": "这本书的各章没有文字。",
    "If its pages are pictures, make a PDF and use ocrmypdf.": "如果页面是图片，请做成 PDF 再用 ocrmypdf 识别。",
    "Get it without a lock from where you bought it.": "请从购买处获取没有加密的版本。",
    "Its reader failed ({text}).": "读取失败（{text}）。",
    "It may be damaged: open it and save it again.": "可能已损坏：请打开后重新保存。",
    "It holds rows, not a document.": "其中是数据，而不是文档。",
    "Name it as training data (data.train) instead.": "请把它指定为训练数据（data.train）。",
    "It is not trained on: {words}.": "不用它训练：{words}。",
    "It cannot be opened: {words}.": "无法打开：{words}。",
    "This folder cannot be opened: {words}.": "这个文件夹无法打开：{words}。",
    "There are no files. Name PDF, DOCX, HTML, EPUB, Markdown, text or source files, or their folder.": (
        "没有文件。请指定 PDF、DOCX、HTML、EPUB、Markdown、文本或源代码文件，或它们的文件夹。"
    ),
    "not a document ({ending})": "不是文档（{ending}）",
    "folder in .gitignore": "在 .gitignore 中的文件夹",
    "file in .gitignore": "在 .gitignore 中的文件",
    "The library {name} is not installed.": "没有安装库 {name}。",
}

SENTENCES: dict[str, str] = ROWS | FILES | DOCUMENTS
