-- Scripts for shells: `luafn completion bash`, zsh or fish. Options are found in a command's usage line, so that there
-- is one place that names them. `commands`: a list of { name=, usage=, summary= }.
local shell, commands = ...

-- The names of the functions of this folder, a line each.
local FUNCTIONS = [[luafn routes --json 2>/dev/null | grep -o '"function":"[^"]*' | cut -d'"' -f4]]
local TEMPLATES = "hello protected scope fetch background scheduled webhook tool"

local function options_of(command)
  local list, seen = {}, {}
  for option in command.usage:gmatch("%-%-[%w-]+") do
    if not seen[option] then list[#list + 1] = option end
    seen[option] = true
  end
  return list
end

local function has_files(command) return command.usage:find("FILE") ~= nil end

-- A line for each command, from a pattern of its own.
local function each(line)
  local lines = {}
  for i, command in ipairs(commands) do lines[i] = line(command) end
  return table.concat(lines)
end

local names = each(function(command) return command.name .. " " end)

-- What stands between two @ is in the table.
local function fill(text, values)
  values.functions, values.templates, values.names = FUNCTIONS, TEMPLATES, names
  return (text:gsub("@(%l+)@", values))
end

local scripts = {}

-- Words that follow an option or the command and are known: new --template, completion, help.
function scripts.bash()
  return fill([=[
# luafn: eval "$(luafn completion bash)"
_luafn() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        words='@names@--version --help'
    else
        case $before in
        --template) words='@templates@' ;;
        --log) words='json text none' ;;
        --route) words=$(@functions@) ;;
        help) words='@names@' ;;
        completion) words='bash zsh fish' ;;
        *) case ${COMP_WORDS[1]} in
@rows@            esac ;;
        esac
        [[ $before == invoke && $word != -* ]] && words=$(@functions@)
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    if [ ${#COMPREPLY[@]} -eq 0 ]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -F _luafn luafn
]=], { rows = each(function(command)
    return ("            %s) words='%s' ;;\n"):format(command.name,
      table.concat(options_of(command), " ") .. (#options_of(command) > 0 and " " or "") .. "--help")
  end) })
end

function scripts.zsh()
  return fill([=[
#compdef luafn
# luafn: eval "$(luafn completion zsh)"
_luafn() {
    local -a commands=(
@described@    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    case $words[CURRENT-1] in
    --template) compadd @templates@; return ;;
    --log) compadd json text none; return ;;
    --route) compadd -- ${(f)"$(@functions@)"}; return ;;
    help) compadd ${commands%%:*}; return ;;
    completion) compadd bash zsh fish; return ;;
    esac
    case $words[2] in
@rows@    esac
    [[ $words[2] == invoke && $CURRENT == 3 ]] && compadd -- ${(f)"$(@functions@)"}
}
compdef _luafn luafn
]=], {
    described = each(function(command)
      return ("        '%s:%s'\n"):format(command.name, (command.summary:gsub("'", [['\'']])))
    end),
    rows = each(function(command)
      local list = options_of(command)
      list[#list + 1] = "--help"
      return ("    %s) compadd -- %s%s ;;\n"):format(command.name, table.concat(list, " "),
        has_files(command) and "; _files" or "")
    end),
  })
end

function scripts.fish()
  local quoted = FUNCTIONS:gsub("'", [[\']])
  local words = {
    ["--template"] = " -xa '" .. TEMPLATES .. "'",
    ["--log"] = " -xa 'json text none'",
    ["--route"] = " -xa '(" .. quoted .. ")'",
  }
  return fill([=[
# luafn: luafn completion fish | source
complete -c luafn -f
complete -c luafn -n __fish_use_subcommand -l version
@rows@complete -c luafn -n '__fish_seen_subcommand_from invoke' -a '(@quoted@)'
complete -c luafn -n '__fish_seen_subcommand_from test' -F
complete -c luafn -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'
complete -c luafn -n '__fish_seen_subcommand_from help' -a '@names@'
]=], { quoted = quoted, rows = each(function(command)
    local lines = { ("complete -c luafn -n __fish_use_subcommand -a %s -d '%s'\n"):format(command.name,
      (command.summary:gsub("'", [[\']]))) }
    for _, option in ipairs(options_of(command)) do
      lines[#lines + 1] = ("complete -c luafn -n '__fish_seen_subcommand_from %s' -l %s%s\n"):format(command.name,
        option:sub(3), words[option] or has_files(command) and " -F" or "")
    end
    return table.concat(lines)
  end) })
end

io.write(scripts[shell]())
