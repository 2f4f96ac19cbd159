"""How servers put it in other languages than English: parts of the patterns of :mod:`.phrases`.

Some write UTF-8, most leave the accents out, and so each word is known in both ways.
"""

from __future__ import annotations

_MAILBOX = (
    r"(bo[iî]te|compte|utilisateur|destinataire|buz[oó]n|cuenta|usuario|destinatario|casella"
    r"|utente|usu[aá]rio|caixa|conta|konto|postfach|benutzer\w*|empf(ae|ä)nger\w*|mailbox|account"
    r"|gebruiker|postbus|skrzynk\w|u[zż]ytkownik\w*|ящик|пользовател\w+|аккаунт|адресат)"
)

UNKNOWN = (
    rf"\b({_MAILBOX}|adresse|adres|indirizzo|direcci[oó]n|endere[cç]o|адрес)\b.{{0,40}}"
    r"(inconnue?|inexistant|inexistente|inesistente|invalide|n'existe pas|introuvable|unbekannt"
    r"|existiert nicht|nicht (gefunden|vorhanden)|ung(ue|ü)ltig|no existe|desconocid|no encontrad"
    r"|non (esiste|trovat|valid)|sconosciut|n[aã]o (existe|encontrad)|desconhecid|onbekend"
    r"|bestaat niet|niet gevonden|nie istnieje|nieznan|не (найден|существует|зарегистрирован))"
    r"|\b(inconnue?s?|sconosciut\w|desconocid\w|desconhecid\w|unbekannte?r?|onbekende?"
    r"|nieznan[ya])\b|nicht bekannt|no existe|non esiste nessun|aucun (utilisateur|compte)"
    r"|kein (postfach|benutzer|empf(ae|ä)nger)|nie ma takiego|нет такого|такого (пользовател|адрес)"
    r"|неизвестн|nesushchestv|ne (naiden|najden|sushchestvuet)"
    r"|(用户|收件人|邮箱|帐号|账号|地址).{0,4}(不存在|无效)|存在しません|宛先不明|見つかりません"
)
# Behind the content: no address, and nothing that is invalid; it may be a header's.
UNKNOWN_LATE = (
    rf"\b{_MAILBOX}\b.{{0,40}}(inconnue?|inexistant|inexistente|inesistente|n'existe pas"
    r"|introuvable|unbekannt|existiert nicht|nicht (gefunden|vorhanden)|no existe|desconocid"
    r"|no encontrad|non (esiste|trovat)|sconosciut|n[aã]o (existe|encontrad)|desconhecid|onbekend"
    r"|bestaat niet|niet gevonden|nie istnieje|nieznan|не (найден|существует|зарегистрирован))"
    r"|(用户|收件人|邮箱|帐号|账号).{0,4}不存在|(ユーザー?|宛先|メールボックス).{0,4}(存在しません|不明|見つかりません)"
)
DISABLED_LATE = (
    r"\b(bo[iî]te|destinataire|buz[oó]n|destinatario|casella|caixa|destinat[aá]rio|postfach"
    r"|empf(ae|ä)nger|postbus|ontvanger|skrzynk\w|odbiorc\w|ящик|адресат|получател\w+)\b.{0,40}"
    r"(d[eé]sactiv|inacti[fv]|inaktiv|inattiv|suspendu|suspendid|deshabilit|desactivad|disabilitat"
    r"|disattivat|sospes|desativad|inativ|gesperrt|deaktiviert|inactief|uitgeschakeld|nieaktywn"
    r"|заблокирован|отключ[её]н|неактив)|(邮箱|收件人).{0,4}(禁用|停用|冻结|锁定)"
)
DISABLED = (
    rf"\b{_MAILBOX}\b.{{0,40}}(d[eé]sactiv|suspendu|suspendid|bloqu[eé]|bloquead|inacti[fv]"
    r"|archiv[eé]|deshabilit|desactivad|disabilitat|disattivat|sospes|bloccat|desativad|gesperrt"
    r"|deaktiviert|inaktiv|geblokkeerd|uitgeschakeld|zablokowan|nieaktywn|заблокирован|отключ[её]н"
    r"|неактив)|(邮箱|帐号|账号|用户).{0,4}(禁用|停用|冻结|锁定)"
)
FULL = (
    r"Speicher\w* .{0,20}(ueber|über)schritten|\bpleine?\b|\bvoll\b|\bllen[ao]\b|\bpien[ao]\b"
    r"|\bchei[ao]\b|is vol\b|pe[lł]na\b|przepe[lł]nion|переполнен|已满|容量不足|いっぱい"
    r"|quota (d[eé]pass|superat|(ue|ü)berschritten|przekroczon)|cuota (excedid|superad)"
    r"|квот\w+ превышен|превышен\w* квот"
)
DOMAIN = (
    r"\b(domaine?|dominio|dom[ií]nio|domein|domena|dom(ae|ä)ne|домен)\b.{0,40}(inconnu|inexist"
    r"|inesist|n'existe|no existe|no encontrad|desconoc|desconhec|unbekannt|existiert nicht"
    r"|nicht gefunden|sconosciut|non (esist|trovat)|n[aã]o existe|onbekend|bestaat niet"
    r"|nie istnieje|не (найден|существует))|域名不存在"
)
SENDER = (
    r"\b(absender\w*|exp[eé]diteur|[eé]metteur|remitente|mittente|remetente|afzender|nadawca"
    r"|отправител\w+)\b.{0,40}(abgelehnt|nicht (erlaubt|zul(ae|ä)ssig|berechtigt)|gesperrt|refus"
    r"|rejet|invalide|non autoris|interdit|no (permitid|autorizad|v[aá]lid)|rechazad|rifiutat"
    r"|non (valid|consentit|autorizzat)|rejeitad|recusad|n[aã]o (permitid|autorizad)"
    r"|geweigerd|niet toegestaan|odrzucon|отклон|запрещ|ung(ue|ü)ltig|nicht g(ue|ü)ltig|inv[aá]lid"
    r"|ongeldig|niet geldig|nieprawid|некоррект|недопустим)"
    r"|发件人.{0,6}(无效|不正确|不存在|不合法|被拒)|(送信者|差出人).{0,12}(無効|不正|拒否)"
)
RELAY = (
    r"\b(relay\w*|relais)\b.{0,30}(refus|interdit|non autoris|nicht (erlaubt|gestattet"
    r"|zul(ae|ä)ssig)|verboten|verweigert|no (est[aá] )?permitid|denegad|non (consentit|permess"
    r"|autorizzat)|negad[ao]|n[aã]o permitid|niet toegestaan|geweigerd|niedozwolon|запрещ)"
    r"|\b(relay(ing)?|relais)(?: \w+){0,3} (d[eé]sactiv|deaktiviert|deshabilitad|desactivad"
    r"|disabilitat|disattivat|desativad|desabilitad|uitgeschakeld|wy[lł][aą]czon|отключ)"
    r"|(中继|转发).{0,6}(拒绝|禁止|不允许)|(リレー|中継).{0,8}(拒否|禁止|許可されて)"
)
LOGIN = (
    r"\bauth?enti\w* (est )?(requise|erforderlich|notwendig|ben(oe|ö)tigt|requerida|necesaria"
    r"|necess[aá]ria|richiesta|necessaria|vereist|wymagan)|(vous|s') ?authentifier"
    r"|anmeldung erforderlich|требуется (аутентиф|авториз)"
)
TOO_MANY = r"(trop de|zu viele|demasiad[ao]s|tropp[ie]|muit[ao]s|te veel|zbyt wiele|слишком много)"
CONNECTIONS = (
    rf"{TOO_MANY} (connexion|verbindung|conexion|connession|conex|verbinding|po[lł][aą]cze"
    r"|соедин|подключ)|連接過多|连接.{0,4}过多"
)
RATE = (
    rf"{TOO_MANY} (message|mails|nachricht|mensaje|messaggi|mensage|bericht|wiadomo|e-mails"
    r"|сообщ|пис[её]м)"
)
GREYLISTED = r"list(e|a) gris|lista grigia|lista cinza|graue liste|серы[йх] спис"
BLOCK_LIST = (
    r"\b(adresse IP|IP-Adresse|direcci[oó]n IP|indirizzo IP|endere[cç]o IP|IP-adres|адрес|IP)\b"
    r".{0,40}(bloqu|gesperrt|geblokkeerd|bloccat|zablokowan|заблокир)|list(a|e) (negra|nera|noire)"
    r"|\bIP\b(?![=:])(?:[^.;:]|\.\w){0,60}(filtr|gefiltert|gefilterd|refus|rejet[eé]|abgelehnt"
    r"|abgewiesen|rechazad|rifiutat|rejeitad|recusad|geweigerd|odrzucon|отклон)"
    r"|(?<![A-Za-z])IP.{0,20}(屏蔽|封禁|被拒|拒绝|拒否|ブロック)|schwarze liste|sperrliste"
    r"|zwarte lijst|czarn\w+ list|ч[её]рн\w+ спис|黑名单"
)
SPAM = (
    r"unerw(ue|ü)nscht|ind[eé]sirable|indesiderat|no deseado|indesejad|ongewenst|niechcian|спам"
    r"|垃圾|スパム|迷惑メール|non sollicit"
)
SIZE = (
    r"(zu|trop|troppo|demasiado|muito|muy|te|za|zbyt) (gro(ss|ß)|gros|volumineu|grande|pesad|groot"
    r"|du[zż])|слишком (больш|велик)|过大|超过.{0,6}大小|大きすぎ|サイズ.{0,6}超"
)
CONTENT = (
    r"(fichier joint|pi[eè]ce jointe|dateianhang|anhang|adjunto|allegato|anexo|bijlage"
    r"|za[lł][aą]cznik|вложени).{0,40}(interdit|refus|non autoris|nicht (erlaubt|zul)|verboten"
    r"|blockiert|no permitid|prohibid|non (consentit|ammess)|bloccat|n[aã]o permitid|proibid"
    r"|niet toegestaan|niedozwol|запрещ)"
)
LINE = (
    r"\b(ligne|zeile|l[ií]nea|riga|linha|regel|wiersz|linia|строк\w)\b.{0,20}\b((trop|zu|demasiado|muy"
    r"|troppo|muito|te|zbyt|za) (long|lang|larg|lung|d[lł]ug)|слишком длинн)"
    r"|(行|单行).{0,4}(过长|太长)|行が長すぎ"
)
